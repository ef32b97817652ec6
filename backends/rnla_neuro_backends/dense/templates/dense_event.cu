{# Code for the synapses of those agents for which a condition holds: a pass that begins with the condition. #}
{# USES_VARIABLES { N } #}
{% extends 'dense_pass.cu' %}
