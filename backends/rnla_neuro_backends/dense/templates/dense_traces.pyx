{# Cython: keeps the factors of a step of traces that are formed at events; see dense_traces.cpp. #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.pyx' %}
{% block maincode %}
    {% set p = _traces %}
    {% set layout = p.layout %}
    {% set count = get_array_name(p.count) %}
    cdef int _neuron, _slot, _k
    cdef bint _some
    cdef bint _full = False
    _vectorisation_idx = 1
    {{merged(scalar_code)|autoindent}}
    for _agent_idx in range({{layout.n_agents}}):
        _slot = _agent_idx*{{p.steps}} + {{count}}[_agent_idx]
        _some = False
        for _neuron in range({{layout.n_post}}):
            _post_own = _agent_idx*{{layout.n_post}} + _neuron
            _post_idx = _post_own + {{layout.post_start}}
            _post_slot = _slot*{{layout.n_post}} + _neuron
            _vectorisation_idx = _post_own
            {{vector_code['post']|autoindent}}
            {% for buffer in p.post %}
            _some = _some or {{get_array_name(buffer)}}[_post_slot] != 0
            {% endfor %}
        {% for trace in p.traces %}
        {{vector_code[trace.block]|autoindent}}
        {{get_array_name(trace.base)}}[_agent_idx] *= _decay
        for _k in range({{count}}[_agent_idx]):
            {{get_array_name(trace.weight)}}[_agent_idx*{{p.steps}} + _k] *= _decay
        {{get_array_name(trace.weight)}}[_slot] = 1
        {% endfor %}
        if _some:
            for _neuron in range({{layout.n_pre}}):
                _pre_own = _agent_idx*{{layout.n_pre}} + _neuron
                _pre_idx = _pre_own + {{layout.pre_start}}
                _pre_slot = _slot*{{layout.n_pre}} + _neuron
                _vectorisation_idx = _pre_own
                {{vector_code['pre']|autoindent}}
            {{count}}[_agent_idx] += 1
            _full = _full or {{count}}[_agent_idx] == {{p.steps}}
    if _full or {{p.period}}:
        _owner.trace_step_done({{p.period}})
{% endblock %}
