{# Cython: one pass over all synapses of a dense projection; see dense_pass.cpp. #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.pyx' %}
{% block maincode %}
    {% set p = _pass %}
    {% set layout = p.layout %}
    cdef int _row, _col, _neuron
    cdef bint _any = False
    cdef bint _fires[{{layout.n_agents}}]
    {% for block in p.blocks if block.kind == 'pre' %}
    cdef {{p.real}} _pre_{{block.name}}
    {% endfor %}
    _vectorisation_idx = 1
    {% if p.condition %}
    {{scalar_code['condition']|autoindent}}
    for _agent_idx in range({{layout.n_agents}}):
        {{vector_code['condition']|autoindent}}
        _fires[_agent_idx] = _event
        _any = _any or _event
    if not _any:
        return
    {% endif %}
    {% if p.flush %}
    _owner.flush_traces()
    {% endif %}
    {{merged(scalar_code, 'condition')|autoindent}}
    {% for side, count, start in (('pre', layout.n_pre, layout.pre_start), ('post', layout.n_post, layout.post_start)) if side in vector_code %}
    for _neuron in range({{layout.n_agents*count}}):
        _{{side}}_own = _neuron
        _{{side}}_idx = _neuron + {{start}}
        _agent_idx = _neuron // {{count}}
        _vectorisation_idx = _neuron
        {{vector_code[side]|autoindent}}
    {% endfor %}
    for _agent_idx in range({{layout.n_agents}}):
        {% if p.condition %}
        if not _fires[_agent_idx]:
            continue
        {% endif %}
        {% for block in p.blocks if block.kind == 'post' %}
        for _col in range({{layout.n_post}}):
            {{get_array_name(block.target)}}[_agent_idx*{{layout.n_post}} + _col + {{layout.post_start}}] = 0
        {% endfor %}
        for _row in range({{layout.n_pre}}):
            _pre_own = _agent_idx*{{layout.n_pre}} + _row
            _pre_idx = _pre_own + {{layout.pre_start}}
            {% for block in p.blocks if block.kind == 'pre' %}
            _pre_{{block.name}} = 0
            {% endfor %}
            {% for block in p.blocks %}
            {{pyx_rows(vector_code[block.name], False)|autoindent}}
            {% endfor %}
            for _col in range({{layout.n_post}}):
                _post_own = _agent_idx*{{layout.n_post}} + _col
                _post_idx = _post_own + {{layout.post_start}}
                _idx = <size_t>_pre_own*{{layout.n_post}} + _col
                _vectorisation_idx = _idx
                {% for block in p.blocks %}
                {{pyx_rows(vector_code[block.name], True)|autoindent}}
                {% if block.kind == 'post' %}
                {{get_array_name(block.target)}}[_post_idx] += _summand
                {% elif block.kind == 'pre' %}
                _pre_{{block.name}} += _summand
                {% elif block.kind == 'set' %}
                if _where:
                    {{get_array_name(block.target)}}[_idx] = _value
                {% endif %}
                {% endfor %}
            {% for block in p.blocks if block.kind == 'pre' %}
            {{get_array_name(block.target)}}[_pre_idx] = _pre_{{block.name}}
            {% endfor %}
{% endblock %}
