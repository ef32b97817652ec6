{# The exchange with the environment's process, once a tick (objects.EnvLink). #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}

{% block extra_headers %}
#include <utility>
#include "network.h"

{{ exchange_source }}
{% endblock %}

{% block maincode %}
    // The socket is opened at the first tick, when the arrays are there.
    static rnla_link::Link link("{{ kernel_key }}", {
    {% for array in kernel_arrays %}
        {"{{ array.name }}", {{ get_array_name(variables[array.name]) }}, sizeof({{ c_data_type(variables[array.name].dtype) }}), {{ array.size }}},
    {% endfor %}
    });
    {{ rnla_block_is_due }} = link.next_block();
    if (!{{ rnla_block_is_due }}) Network::_globally_stopped = true;  // the run ends with this tick
{% endblock %}
