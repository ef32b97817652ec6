{# CUDA: a pass over all synapses of a dense projection; see dense_pass.cpp.

   Kernels run one after the other, in the order of the blocks:
   * sums of postsynaptic neurons, together with the code between them: a block of 32 x 8 threads for 32 postsynaptic
     neurons of an agent; the threads of a warp read neighbouring synapses of one presynaptic neuron;
   * sums of presynaptic neurons: a warp for each, whose threads read neighbouring synapses;
   * code alone: a thread for each synapse.
#}
{# USES_VARIABLES { N } #}
{% extends 'common_group.cu' %}
{% block extra_headers %}
{% if _pass.flush %}
void {{_pass.flush}}(const char* _which);
{% endif %}
{% endblock %}
{% block define_N %}
const int _N = {{_pass.layout.size}};
{% endblock %}
{% block kernel %}
{% set p = _pass %}
{% set layout = p.layout %}
{% macro begin(name) %}
__global__ void _{{name}}_{{codeobj_name}}(
    ///// KERNEL_PARAMETERS /////
    %KERNEL_PARAMETERS%
    )
{
    using namespace brian;
    const int _N = {{layout.size}};
    const int _vectorisation_idx = -1;

    ///// KERNEL_CONSTANTS /////
    %KERNEL_CONSTANTS%

    ///// kernel_lines /////
    {{kernel_lines|autoindent}}
{% endmacro %}
{% macro at_synapse(blocks) %}
                const int _idx = _pre_own*{{layout.n_post}} + _col;
                const int _vectorisation_idx = _idx;
                {% for block in blocks %}
                {
                    {{real_code(vector_code[block.name], p.real, variables)|autoindent}}
                    {% if block.kind in ('pre', 'post') %}
                    _sum_{{block.name}} += _summand;
                    {% elif block.kind == 'set' %}
                    if (_where)
                        {{get_array_name(block.target)}}[_idx] = _value;
                    {% endif %}
                }
                {% endfor %}
{% endmacro %}
{% macro once(blocks) %}
    {{once_code(merged_of(scalar_code, blocks), p.real)|autoindent}}
{% endmacro %}
{% if p.condition %}
{{begin('condition')}}
    {{once_code(scalar_code['condition'], 'double')|autoindent}}
    const int _agent_idx = blockIdx.x*blockDim.x + threadIdx.x;
    if (_agent_idx < {{layout.n_agents}})
    {
        const int _vectorisation_idx = _agent_idx;
        {{real_code(vector_code['condition'], 'double')|autoindent}}
        {{get_array_name(p.fires)}}[_agent_idx] = _event;
    }
}
{% endif %}
{% for side, count, start in (('pre', layout.n_pre, layout.pre_start), ('post', layout.n_post, layout.post_start)) if side in vector_code %}
{{begin('factors_' ~ side)}}
    {{once_code(scalar_code[side], p.real)|autoindent}}
    const int _{{side}}_own = blockIdx.x*blockDim.x + threadIdx.x;
    if (_{{side}}_own < {{layout.n_agents*count}})
    {
        const int _{{side}}_idx = _{{side}}_own + {{start}};
        const int _agent_idx = _{{side}}_own/{{count}};
        const int _vectorisation_idx = _{{side}}_own;
        {{real_code(vector_code[side], p.real, variables)|autoindent}}
    }
}
{% endfor %}
{% for kind, blocks in p.kernels %}
{{begin(kind ~ loop.index)}}
    {{once(blocks)}}
    {% if kind == 'columns' %}
    const int _agent_idx = blockIdx.y;
    {% if p.condition %}
    if (!{{get_array_name(p.fires)}}[_agent_idx])
        return;
    {% endif %}
    const int _col = blockIdx.x*32 + threadIdx.x;
    {% for block in blocks if block.kind == 'post' %}
    __shared__ {{p.real}} _parts_{{block.name}}[8][32];
    {{p.real}} _sum_{{block.name}} = 0;
    {% endfor %}
    if (_col < {{layout.n_post}})
    {
        const int _post_own = _agent_idx*{{layout.n_post}} + _col;
        const int _post_idx = _post_own + {{layout.post_start}};
        for (int _row = threadIdx.y; _row < {{layout.n_pre}}; _row += 8)
        {
                const int _pre_own = _agent_idx*{{layout.n_pre}} + _row;
                const int _pre_idx = _pre_own + {{layout.pre_start}};
{{at_synapse(blocks)}}
        }
    }
    {% for block in blocks if block.kind == 'post' %}
    _parts_{{block.name}}[threadIdx.y][threadIdx.x] = _sum_{{block.name}};
    {% endfor %}
    __syncthreads();
    if (threadIdx.y == 0 && _col < {{layout.n_post}})
    {
        {% for block in blocks if block.kind == 'post' %}
        {{p.real}} _total_{{block.name}} = 0;
        for (int _part = 0; _part < 8; _part++)
            _total_{{block.name}} += _parts_{{block.name}}[_part][threadIdx.x];
        {{get_array_name(block.target)}}[_agent_idx*{{layout.n_post}} + _col + {{layout.post_start}}] = _total_{{block.name}};
        {% endfor %}
    }
    {% elif kind == 'rows' %}
    const int _pre_own = (blockIdx.x*blockDim.x + threadIdx.x)/32;
    if (_pre_own >= {{layout.n_agents*layout.n_pre}})
        return;  // the whole warp
    const int _pre_idx = _pre_own + {{layout.pre_start}};
    const int _agent_idx = _pre_own/{{layout.n_pre}};
    {% for block in blocks %}
    {{p.real}} _sum_{{block.name}} = 0;
    {% endfor %}
    for (int _col = threadIdx.x % 32; _col < {{layout.n_post}}; _col += 32)
    {
                const int _post_own = _agent_idx*{{layout.n_post}} + _col;
                const int _post_idx = _post_own + {{layout.post_start}};
{{at_synapse(blocks)}}
    }
    {% for block in blocks %}
    for (int _offset = 16; _offset > 0; _offset /= 2)
        _sum_{{block.name}} += __shfl_down_sync(0xffffffff, _sum_{{block.name}}, _offset);
    if (threadIdx.x % 32 == 0)
        {{get_array_name(block.target)}}[_pre_idx] = _sum_{{block.name}};
    {% endfor %}
    {% else %}
    const int _synapse = blockIdx.x*blockDim.x + threadIdx.x;
    if (_synapse < {{layout.size}})
    {
                const int _pre_own = _synapse/{{layout.n_post}}, _col = _synapse % {{layout.n_post}};
                const int _agent_idx = _pre_own/{{layout.n_pre}};
                const int _pre_idx = _pre_own + {{layout.pre_start}};
                const int _post_own = _agent_idx*{{layout.n_post}} + _col;
                const int _post_idx = _post_own + {{layout.post_start}};
                {% if p.condition %}
                if (!{{get_array_name(p.fires)}}[_agent_idx])
                    return;
                {% endif %}
{{at_synapse(blocks)}}
    }
    {% endif %}
}
{% endfor %}
{% endblock kernel %}
{% block prepare_kernel %}
{% endblock %}
{% block kernel_call %}
{% set p = _pass %}
{% set layout = p.layout %}
{% if p.condition %}
_condition_{{codeobj_name}}<<<{{(layout.n_agents + 255) // 256}}, 256>>>(
        ///// HOST_PARAMETERS /////
        %HOST_PARAMETERS%
    );
{% endif %}
{% if p.flush %}
{{p.flush}}({{get_array_name(p.fires, prefix='dev') if p.condition else '0'}});
{% endif %}
{% for side, count in (('pre', layout.n_pre), ('post', layout.n_post)) if side in vector_code %}
_factors_{{side}}_{{codeobj_name}}<<<{{(layout.n_agents*count + 255) // 256}}, 256>>>(
        ///// HOST_PARAMETERS /////
        %HOST_PARAMETERS%
    );
{% endfor %}
{% for kind, blocks in p.kernels %}
{% if kind == 'columns' %}
_columns{{loop.index}}_{{codeobj_name}}<<<dim3({{(layout.n_post + 31) // 32}}, {{layout.n_agents}}), dim3(32, 8)>>>(
{% elif kind == 'rows' %}
_rows{{loop.index}}_{{codeobj_name}}<<<{{(layout.n_agents*layout.n_pre + 7) // 8}}, 256>>>(
{% else %}
_synapses{{loop.index}}_{{codeobj_name}}<<<{{(layout.size + 255) // 256}}, 256>>>(
{% endif %}
        ///// HOST_PARAMETERS /////
        %HOST_PARAMETERS%
    );
{% endfor %}

CUDA_CHECK_ERROR("{{codeobj_name}}");
{% endblock kernel_call %}
