{# One pass over all synapses of a dense projection: sums over them, their state update, code of the user.

   _pass: see rnla_neuro_backends/dense/runners.py, class Pass. Agents are in the outer loop, postsynaptic
   neurons in the inner one, which is contiguous in the matrices. A few presynaptic neurons (rows) are done
   together, so that the postsynaptic sums are read and written once for all of them.
#}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}
{% block extra_headers %}
{% if _pass.flush %}
void {{_pass.flush}}(const int _agent);
{% endif %}
{% endblock %}
{% block maincode %}
    {% set p = _pass %}
    {% set layout = p.layout %}
    {% macro rows(count) %}
        {% for block in p.blocks if block.kind == 'pre' %}
        {% for r in range(count) %}
        {{p.real}} _pre_{{block.name}}_{{r}} = 0;
        {% endfor %}
        {% endfor %}
        {% for block in p.blocks %}
        {% for line, kind, name, value in row_reads(vector_code[block.name], block.name) %}
        {% for r in range(count) %}
        const {{kind}} {{name}}_{{r}} = {{value|replace('_pre_idx', '_pre_own + ' ~ layout.pre_start)|replace('_pre_own', '_agent_idx*' ~ layout.n_pre ~ ' + _row + ' ~ r)}};
        {% endfor %}
        {% endfor %}
        {% endfor %}
        {{p.pragma(count)}}
        for (int _col = 0; _col < {{layout.n_post}}; _col++)
        {
            const int _post_own = _agent_idx*{{layout.n_post}} + _col;
            const int _post_idx = _post_own + {{layout.post_start}};
            {% for block in p.blocks if block.kind == 'post' %}
            {{p.real}} _post_{{block.name}} = 0;
            {% endfor %}
            {% for r in range(count) %}
            {
                const int _pre_own = _agent_idx*{{layout.n_pre}} + _row + {{r}};
                const int _pre_idx = _pre_own + {{layout.pre_start}};
                const int _idx = _pre_own*{{layout.n_post}} + _col;
                const size_t _vectorisation_idx = _idx;
                {% for block in p.blocks %}
                {
                    {{real_code(row_code(vector_code[block.name], block.name, r), p.real, variables)|autoindent}}
                    {% if block.kind == 'post' %}
                    _post_{{block.name}} += _summand;
                    {% elif block.kind == 'pre' %}
                    _pre_{{block.name}}_{{r}} += _summand;
                    {% elif block.kind == 'set' %}
                    if (_where)
                        {{get_array_name(block.target)}}[_idx] = _value;
                    {% endif %}
                }
                {% endfor %}
            }
            {% endfor %}
            {% for block in p.blocks if block.kind == 'post' %}
            {{get_array_name(block.target)}}[_post_idx] += _post_{{block.name}};
            {% endfor %}
        }
        {% for block in p.blocks if block.kind == 'pre' %}
        {% for r in range(count) %}
        {{get_array_name(block.target)}}[_agent_idx*{{layout.n_pre}} + _row + {{r + layout.pre_start}}] = _pre_{{block.name}}_{{r}};
        {% endfor %}
        {% endfor %}
    {% endmacro %}
    const size_t _vectorisation_idx = -1;
    {% if p.condition %}
    bool _fires[{{layout.n_agents}}], _any = false;
    {
        {{once_code(scalar_code['condition'], 'double')|autoindent}}
        for (int _agent_idx = 0; _agent_idx < {{layout.n_agents}}; _agent_idx++)
        {
            {{real_code(vector_code['condition'], 'double')|autoindent}}
            _fires[_agent_idx] = _event;
            _any = _any || _event;
        }
    }
    if (_any)
    {% endif %}
    {
    {{once_code(merged(scalar_code, 'condition'), p.real)|autoindent}}
    {% for side, count, start in (('pre', layout.n_pre, layout.pre_start), ('post', layout.n_post, layout.post_start)) if side in vector_code %}
    for (int _agent_idx = 0; _agent_idx < {{layout.n_agents}}; _agent_idx++)
    {
        for (int _{{side}}_own = _agent_idx*{{count}}; _{{side}}_own < (_agent_idx + 1)*{{count}}; _{{side}}_own++)
        {
            const int _{{side}}_idx = _{{side}}_own + {{start}};
            const size_t _vectorisation_idx = _{{side}}_own;
            {{real_code(vector_code[side], p.real, variables)|autoindent}}
        }
    }
    {% endfor %}
    for (int _agent_idx = 0; _agent_idx < {{layout.n_agents}}; _agent_idx++)
    {
        {% if p.condition %}
        if (!_fires[_agent_idx])
            continue;
        {% endif %}
        {% if p.flush %}
        {{p.flush}}(_agent_idx);
        {% endif %}
        {% for block in p.blocks if block.kind == 'post' %}
        for (int _col = 0; _col < {{layout.n_post}}; _col++)
            {{get_array_name(block.target)}}[_agent_idx*{{layout.n_post}} + _col + {{layout.post_start}}] = 0;
        {% endfor %}
        int _row = 0;
        {% if p.rows > 1 %}
        for (; _row + {{p.rows}} <= {{layout.n_pre}}; _row += {{p.rows}})
        {
            {{rows(p.rows)}}
        }
        {% endif %}
        for (; _row < {{layout.n_pre}}; _row++)
        {
            {{rows(1)}}
        }
    }
    }
{% endblock %}
