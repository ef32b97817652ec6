{# A block of all agents, at each call (objects.KernelObject). #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.pyx' %}

{% block template_support_code %}
# {{ kernel_stamp }}
cdef extern from *:
    r"""
{{ kernel_source }}
static inline void _rnla_block(
    {%- for array in kernel_arrays %}{{ ", " if not loop.first }}{{ cpp_dtype(variables[array.name].dtype) }}* {{ array.name }}{% endfor -%}
) {
    {{ kernel_call }}
}
    """
    void _rnla_block(
    {%- for array in kernel_arrays %}{{ ", " if not loop.first }}{{ cpp_dtype(variables[array.name].dtype) }}*{% endfor -%}
    ) noexcept nogil
{% endblock %}

{% block maincode %}
    with nogil:
        _rnla_block(
        {%- for array in kernel_arrays %}{{ ", " if not loop.first }}{{ get_array_name(variables[array.name]) }}{% endfor -%}
        )
{% endblock %}
