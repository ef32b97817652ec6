{# CUDA: keeps the factors of a step of traces that are formed at events; see dense_traces.cpp.

   Kernels of a step: decay (a thread for each agent), factors of either side (a thread for each neuron), count. A
   factor that is zero throughout adds nothing: `some` is set by the neurons whose factor is not zero. The traces of
   the agents that are due are formed with a thread for each synapse; neighbouring threads read neighbouring elements.
#}
{# USES_VARIABLES { N } #}
{% extends 'common_group.cu' %}
{% block extra_headers %}
void {{_traces.function}}(const char* _which);
{% endblock %}
{% block define_N %}
const int _N = {{_traces.layout.n_agents}};
{% endblock %}
{% block kernel %}
{% set p = _traces %}
{% set layout = p.layout %}
{% set count = get_array_name(p.count) %}
{% macro begin(name) %}
__global__ void _{{name}}_{{codeobj_name}}(
    ///// KERNEL_PARAMETERS /////
    %KERNEL_PARAMETERS%
    )
{
    using namespace brian;
    const int _vectorisation_idx = -1;
    const int _thread = blockIdx.x*blockDim.x + threadIdx.x;

    ///// KERNEL_CONSTANTS /////
    %KERNEL_CONSTANTS%

    ///// kernel_lines /////
    {{kernel_lines|autoindent}}
{% endmacro %}
{{begin('decay')}}
    if (_thread >= {{layout.n_agents}})
        return;
    const int _agent_idx = _thread;
    const int _slots = {{count}}[_agent_idx];
    {{get_array_name(p.some)}}[_agent_idx] = false;
    {% for trace in p.traces %}
    {
        {{once_code(scalar_code[trace.block], 'double')|autoindent}}
        const int _vectorisation_idx = _agent_idx;
        {{real_code(vector_code[trace.block], 'double')|autoindent}}
        double* _weight = {{get_array_name(trace.weight)}} + _agent_idx*{{p.steps}};
        {{get_array_name(trace.base)}}[_agent_idx] *= _decay;
        for (int _k = 0; _k < _slots; _k++)
            _weight[_k] *= _decay;
        _weight[_slots] = 1;
    }
    {% endfor %}
}
{% for side, size, start in (('post', layout.n_post, layout.post_start), ('pre', layout.n_pre, layout.pre_start)) %}
{{begin(side)}}
    {{once_code(scalar_code[side], p.real)|autoindent}}
    if (_thread >= {{layout.n_agents*size}})
        return;
    const int _{{side}}_own = _thread;
    const int _agent_idx = _{{side}}_own/{{size}};
    {% if side == 'pre' %}
    if (!{{get_array_name(p.some)}}[_agent_idx])
        return;
    {% endif %}
    const int _{{side}}_idx = _{{side}}_own + {{start}};
    const int _{{side}}_slot = (_agent_idx*{{p.steps}} + {{count}}[_agent_idx])*{{size}} + _{{side}}_own % {{size}};
    {
        const int _vectorisation_idx = _{{side}}_own;
        {{real_code(vector_code[side], p.real, variables)|autoindent}}
    }
    {% if side == 'post' %}
    {% for buffer in p.post %}
    if ({{get_array_name(buffer)}}[_post_slot] != 0)
        {{get_array_name(p.some)}}[_agent_idx] = true;
    {% endfor %}
    {% endif %}
}
{% endfor %}
{{begin('count')}}
    if (_thread >= {{layout.n_agents}})
        return;
    if ({{get_array_name(p.some)}}[_thread])
        {{count}}[_thread]++;
    {{get_array_name(p.some)}}[_thread] = {{count}}[_thread] == {{p.steps}};
}
{{begin('form')|replace('%KERNEL_PARAMETERS%', '%KERNEL_PARAMETERS%,\n    const char* _which')}}
    if (_thread >= {{layout.size}})
        return;
    const int _agent = _thread/{{layout.n_pre*layout.n_post}};
    if (_which && !_which[_agent])
        return;
    const int _row = _thread/{{layout.n_post}} % {{layout.n_pre}}, _col = _thread % {{layout.n_post}};
    const int _slots = {{count}}[_agent];
    {% for trace in p.traces %}
    {
        {{p.real}} _sum = ({{p.real}}){{get_array_name(trace.base)}}[_agent]*{{get_array_name(trace.variable)}}[_thread];
        for (int _k = 0; _k < _slots; _k++)
        {
            const int _slot = _agent*{{p.steps}} + _k;
            const {{p.real}} _weight = ({{p.real}}){{get_array_name(trace.weight)}}[_slot];
            {% for post, pre in trace.terms %}
            _sum += _weight*{{get_array_name(pre)}}[_slot*{{layout.n_pre}} + _row]*{{get_array_name(post)}}[_slot*{{layout.n_post}} + _col];
            {% endfor %}
        }
        {{get_array_name(trace.variable)}}[_thread] = _sum;
    }
    {% endfor %}
}
{{begin('reset')|replace('%KERNEL_PARAMETERS%', '%KERNEL_PARAMETERS%,\n    const char* _which')}}
    if (_thread >= {{layout.n_agents}} || (_which && !_which[_thread]))
        return;
    {{count}}[_thread] = 0;
    {% for trace in p.traces %}
    {{get_array_name(trace.base)}}[_thread] = 1;
    {% endfor %}
}
{% endblock kernel %}
{% block prepare_kernel %}
{% endblock %}
{% block kernel_call %}
{% set p = _traces %}
{% set layout = p.layout %}
{% for name, size in (('decay', layout.n_agents), ('post', layout.n_agents*layout.n_post), ('pre', layout.n_agents*layout.n_pre), ('count', layout.n_agents)) %}
_{{name}}_{{codeobj_name}}<<<{{(size + 255) // 256}}, 256>>>(
        ///// HOST_PARAMETERS /////
        %HOST_PARAMETERS%
    );
{% endfor %}
{% set t, dt = get_array_name(p.t, prefix=''), get_array_name(p.dt, prefix='') %}
{% if p.period %}
// somebody else looks at the traces in this step or at the beginning of the next
const long _step = (long)floor({{t}}[0]/{{dt}}[0] + 0.5);
const bool _read = _step % {{p.period}} == 0 || (_step + 1) % {{p.period}} == 0;
{{p.function}}(_read ? (const char*)0 : {{get_array_name(p.some, prefix='dev')}});
{% else %}
{{p.function}}({{get_array_name(p.some, prefix='dev')}});
{% endif %}

CUDA_CHECK_ERROR("{{codeobj_name}}");
{% endblock kernel_call %}
{% block extra_functions_cu %}
{% set p = _traces %}
{% set layout = p.layout %}
// Code objects of several runs may define it: it is the same function. `_which`: flags of agents; null for all.
__attribute__((weak)) void {{p.function}}(const char* _which)
{
    using namespace brian;
    {% for name, size in (('form', layout.size), ('reset', layout.n_agents)) %}
    _{{name}}_{{codeobj_name}}<<<{{(size + 255) // 256}}, 256>>>(
        ///// HOST_PARAMETERS /////
        %HOST_PARAMETERS%,
        _which
    );
    {% endfor %}
}
{% endblock %}
{% block after_run_host_maincode %}
    // the end of a run
    void {{_traces.function}}(const char* _which);
    {{_traces.function}}(0);
{% endblock %}
