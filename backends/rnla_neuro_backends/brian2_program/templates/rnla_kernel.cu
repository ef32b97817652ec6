{# A block of all agents in one launch, once a tick (objects.KernelGroup, cuda_project). Not an extension of brian2cuda's
   common_group: arrays are given to the kernel by pointer, and there is one block of threads an agent. #}
{% macro before_run_cu_file() %}{% endmacro %}
{% macro before_run_h_file() %}{% endmacro %}
{% macro after_run_cu_file() %}{% endmacro %}
{% macro after_run_h_file() %}{% endmacro %}
{% macro cu_file() %}
#include "code_objects/{{ codeobj_name }}.h"
#include "objects.h"
{% include 'rnla_device.hpp' %}

{{ kernel_source }}

namespace rnla_device {
Memory& memory() {
    using namespace brian;
    static Memory one({
    {% for array in kernel_arrays %}
        {"{{ array.name }}", {{ array.role | upper }}, {{ array.size }} * sizeof({{ c_data_type(variables[array.name].dtype) }}), {{ get_array_name(variables[array.name], prefix='') }}, {{ get_array_name(variables[array.name], prefix='dev') }}},
    {% endfor %}
    });
    return one;
}
}  // namespace rnla_device

void _run_{{ codeobj_name }}() {
    using namespace brian;
    if (!{{ get_array_name(variables['rnla_block_is_due'], prefix='') }}[0]) return;
    static const std::size_t chip_limit = rnla_device::chip_limit();
    static rnla_device::Times times;
    rnla_device::Memory& memory = rnla_device::memory();
    {% for array in kernel_arrays %}
    auto* const {{ array.name }} = static_cast<{{ c_data_type(variables[array.name].dtype) }}*>(memory.device({{ loop.index0 }}));
    {% endfor %}
    memory.give();
    times.start();
    rnla_device::check({{ kernel_call }}, "the kernel cannot be launched");
    times.stop();
    memory.take();
}
{% endmacro %}
{% macro h_file() %}
#ifndef _INCLUDED_{{ codeobj_name }}
#define _INCLUDED_{{ codeobj_name }}
void _run_{{ codeobj_name }}();
#endif
{% endmacro %}
