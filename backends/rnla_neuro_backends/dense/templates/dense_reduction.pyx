{# Cython: a reduction over the neurons of each agent of a group. #}
{% extends 'common_group.pyx' %}
{% block maincode %}
    {% set p = _reduced %}
    {% set target = get_array_name(p.target) %}
    cdef int _agent, _neuron
    cdef {{p.real}} _largest, _total, _result
    _vectorisation_idx = 1
    {{scalar_code|autoindent}}
    for _agent in range({{p.n_agents}}):
        _total = 0
        for _neuron in range({{p.n}}):
            _idx = _agent*{{p.n}} + _neuron
            _vectorisation_idx = _idx
            {{vector_code|autoindent}}
            {{target}}[_idx] = _value
            if _neuron == 0 or _value > _largest:
                _largest = _value
            _total += _value
        {% if p.kind == 'softmax' %}
        _total = 0
        for _neuron in range({{p.n}}):
            _idx = _agent*{{p.n}} + _neuron
            {{target}}[_idx] = exp({{target}}[_idx] - _largest)
            _total += {{target}}[_idx]
        {% endif %}
        _result = {{ {'softmax': '1/_total', 'sum': '_total', 'mean': '_total/' ~ p.n, 'max': '_largest'}[p.kind] }}
        for _neuron in range({{p.n}}):
            _idx = _agent*{{p.n}} + _neuron
            {{target}}[_idx] = _result{{ '*' ~ target ~ '[_idx]' if p.kind == 'softmax' }}
{% endblock %}
