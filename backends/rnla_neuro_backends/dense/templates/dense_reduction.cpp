{# A reduction over the neurons of each agent of a group; see rnla_neuro_backends/dense/reduction.py. #}
{% extends 'common_group.cpp' %}
{% block maincode %}
    {% set p = _reduced %}
    {% set target = get_array_name(p.target) %}
    const size_t _vectorisation_idx = -1;
    {{once_code(scalar_code, p.real)|autoindent}}
    for (int _agent = 0; _agent < {{p.n_agents}}; _agent++)
    {
        {{p.real}} _largest = -INFINITY, _total = 0;
        for (int _idx = _agent*{{p.n}}; _idx < (_agent + 1)*{{p.n}}; _idx++)
        {
            const size_t _vectorisation_idx = _idx;
            {{real_code(vector_code, p.real, variables)|autoindent}}
            {{target}}[_idx] = _value;
            _largest = _value > _largest ? ({{p.real}})_value : _largest;
            _total += _value;
        }
        {% if p.kind == 'softmax' %}
        _total = 0;
        for (int _idx = _agent*{{p.n}}; _idx < (_agent + 1)*{{p.n}}; _idx++)
        {
            {{target}}[_idx] = std::exp({{target}}[_idx] - _largest);
            _total += {{target}}[_idx];
        }
        {% endif %}
        const {{p.real}} _result = {{ {'softmax': '1/_total', 'sum': '_total', 'mean': '_total/' ~ p.n, 'max': '_largest'}[p.kind] }};
        for (int _idx = _agent*{{p.n}}; _idx < (_agent + 1)*{{p.n}}; _idx++)
            {{target}}[_idx] = _result{{ '*' ~ target ~ '[_idx]' if p.kind == 'softmax' }};
    }
{% endblock %}
