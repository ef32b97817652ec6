{# A reduction over the neurons of each agent of a group; see rnla_neuro_backends/dense/reduction.py. #}
{% extends 'common_group.cpp' %}
{% block maincode %}
    {% set p = _reduced %}
    {% set target = get_array_name(p.target) %}
    {% set index, exp = 'size_t', 'std::exp' %}
    const size_t _vectorisation_idx = -1;
    {{once_code(scalar_code, p.real)|autoindent}}
    for (int _agent = 0; _agent < {{p.n_agents}}; _agent++)
    {
        {% include 'dense_reduction.hpp' %}
    }
{% endblock %}
