{# Calls a function of rnla_plain.cpp at each tick, which this file is included in (plain_project). #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}

{% block maincode %}
    ::{{ rnla_function }}();
{% endblock %}
