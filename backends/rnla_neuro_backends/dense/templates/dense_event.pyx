{# Code for the synapses of those agents for which a condition holds: a pass that begins with the condition. #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'dense_pass.pyx' %}
