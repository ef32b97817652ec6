{# CUDA: a reduction over the neurons of each agent of a group, a thread for each agent. #}
{# USES_VARIABLES { N } #}
{% extends 'common_group.cu' %}
{% block define_N %}
const int _N = {{_reduced.n_agents}};
{% endblock %}
{% block kernel %}
{% set p = _reduced %}
{% set target = get_array_name(p.target) %}
{% set index, exp = 'int', 'exp' %}
__global__ void _run_kernel_{{codeobj_name}}(
    ///// KERNEL_PARAMETERS /////
    %KERNEL_PARAMETERS%
    )
{
    using namespace brian;
    const int _vectorisation_idx = -1;

    ///// KERNEL_CONSTANTS /////
    %KERNEL_CONSTANTS%

    ///// kernel_lines /////
    {{kernel_lines|autoindent}}
    {{once_code(scalar_code, p.real)|autoindent}}
    const int _agent = blockIdx.x*blockDim.x + threadIdx.x;
    if (_agent >= {{p.n_agents}})
        return;
    {% include 'dense_reduction.hpp' %}
}
{% endblock kernel %}
{% block prepare_kernel %}
{% endblock %}
{% block kernel_call %}
_run_kernel_{{codeobj_name}}<<<{{(_reduced.n_agents + 255) // 256}}, 256>>>(
        ///// HOST_PARAMETERS /////
        %HOST_PARAMETERS%
    );

CUDA_CHECK_ERROR("{{codeobj_name}}");
{% endblock kernel_call %}
