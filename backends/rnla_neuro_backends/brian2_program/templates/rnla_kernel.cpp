{# A block of all agents, once a tick (objects.KernelObject). #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}

{% block extra_headers %}
{{ kernel_source }}
{% endblock %}

{% block maincode %}
    {% for array in kernel_arrays %}
    {{ c_data_type(variables[array.name].dtype) }}* const {{ array.name }} = {{ get_array_name(variables[array.name]) }};
    {% endfor %}
    if ({{ rnla_block_is_due }}) {
        {{ kernel_call }}
    }
{% endblock %}
