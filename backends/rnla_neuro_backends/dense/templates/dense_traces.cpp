{# Keeps the factors of a step of traces that are formed at events; forms them when the buffer is full.

   _traces: see rnla_neuro_backends/dense/trace_runner.py, class Buffers.
#}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}
{% block extra_headers %}
{% include 'dense_flush.hpp' %}
void {{_traces.function}}(const int _agent);
{% endblock %}
{% block maincode %}
    {% set p = _traces %}
    {% set layout = p.layout %}
    const size_t _vectorisation_idx = -1;
    {{once_code(merged(scalar_code), p.real)|autoindent}}
    for (int _agent_idx = 0; _agent_idx < {{layout.n_agents}}; _agent_idx++)
    {
        const int _slot = _agent_idx*{{p.steps}} + {{get_array_name(p.count)}}[_agent_idx];
        for (int _col = 0; _col < {{layout.n_post}}; _col++)
        {
            const int _post_own = _agent_idx*{{layout.n_post}} + _col;
            const int _post_idx = _post_own + {{layout.post_start}};
            const int _post_slot = _slot*{{layout.n_post}} + _col;
            const size_t _vectorisation_idx = _post_own;
            {{real_code(vector_code['post'], p.real, variables)|autoindent}}
        }
        bool _some = false;
        {% for buffer in p.post %}
        for (int _col = 0; _col < {{layout.n_post}}; _col++)
            _some |= {{get_array_name(buffer)}}[(size_t)_slot*{{layout.n_post}} + _col] != 0;
        {% endfor %}
        {% for trace in p.traces %}
        {
            {{real_code(vector_code[trace.block], 'double')|autoindent}}
            double* _weight = {{get_array_name(trace.weight)}} + _agent_idx*{{p.steps}};
            {{get_array_name(trace.base)}}[_agent_idx] *= _decay;
            for (int _k = 0; _k < {{get_array_name(p.count)}}[_agent_idx]; _k++)
                _weight[_k] *= _decay;
            _weight[{{get_array_name(p.count)}}[_agent_idx]] = 1;
        }
        {% endfor %}
        if (_some)  // a factor that is zero throughout adds nothing
        {
            for (int _row = 0; _row < {{layout.n_pre}}; _row++)
            {
                const int _pre_own = _agent_idx*{{layout.n_pre}} + _row;
                const int _pre_idx = _pre_own + {{layout.pre_start}};
                const int _pre_slot = _slot*{{layout.n_pre}} + _row;
                const size_t _vectorisation_idx = _pre_own;
                {{real_code(vector_code['pre'], p.real, variables)|autoindent}}
            }
            {{get_array_name(p.count)}}[_agent_idx]++;
        }
        if ({{get_array_name(p.count)}}[_agent_idx] == {{p.steps}})
            {{p.function}}(_agent_idx);
    }
    {% if p.period %}
    // somebody else looks at the traces in this step or at the beginning of the next
    const long _step = (long)floor({{get_array_name(p.t)}}[0]/{{get_array_name(p.dt)}}[0] + 0.5);
    if (_step % {{p.period}} == 0 || (_step + 1) % {{p.period}} == 0)
        for (int _agent_idx = 0; _agent_idx < {{layout.n_agents}}; _agent_idx++)
            {{p.function}}(_agent_idx);
    {% endif %}
{% endblock %}
{% block extra_functions_cpp %}
{% set p = _traces %}
{% set layout = p.layout %}
// Code objects of several runs may define it: it is the same function.
#ifdef __GNUC__
__attribute__((weak))
#endif
void {{p.function}}(const int _agent)
{
    using namespace brian;
    int& _count = {{get_array_name(p.count, access_data=False)}}[_agent];
    {% for trace in p.traces %}
    {
        double& _base = {{get_array_name(trace.base, access_data=False)}}[_agent];
        {{p.real}}* _trace = {{get_array_name(trace.variable, access_data=False)}} + (size_t)_agent*{{layout.n_pre*layout.n_post}};
        if (_count > 0 || _base != 1)
        {
            {% for post, pre in trace.terms %}
            dense_flush<{{p.real}}>(_trace, {{get_array_name(post, access_data=False)}} + (size_t)_agent*{{p.steps*layout.n_post}},
                {{get_array_name(pre, access_data=False)}} + (size_t)_agent*{{p.steps*layout.n_pre}},
                {{get_array_name(trace.weight, access_data=False)}} + _agent*{{p.steps}},
                {{ '_base' if loop.first else '1.0' }}, _count, {{layout.n_pre}}, {{layout.n_post}});
            {% endfor %}
        }
        _base = 1;
    }
    {% endfor %}
    _count = 0;
}
{% endblock %}
{% block after_code %}
    // the end of a run
    void {{_traces.function}}(const int _agent);
    for (int _agent_idx = 0; _agent_idx < {{_traces.layout.n_agents}}; _agent_idx++)
        {{_traces.function}}(_agent_idx);
{% endblock %}
