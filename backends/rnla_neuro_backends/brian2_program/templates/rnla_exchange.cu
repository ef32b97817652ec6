{# The exchange with the environment's process, once a tick, on the host (objects.EnvLink). #}
{% macro before_run_cu_file() %}{% endmacro %}
{% macro before_run_h_file() %}{% endmacro %}
{% macro after_run_cu_file() %}{% endmacro %}
{% macro after_run_h_file() %}{% endmacro %}
{% macro cu_file() %}
#include "code_objects/{{ codeobj_name }}.h"
#include "objects.h"
#include "network.h"
#include <utility>
{% include 'rnla_device.hpp' %}

{{ exchange_source }}

void _run_{{ codeobj_name }}() {
    using namespace brian;
    rnla_device::Memory& memory = rnla_device::memory();
    // The socket is opened at the first tick, when the arrays are there. Arrays are known by their places in this list.
    static const std::vector<rnla_link::Array> arrays = {
    {% for array in kernel_arrays %}
        {"{{ array.name }}", memory.host({{ loop.index0 }}), sizeof({{ c_data_type(variables[array.name].dtype) }}), {{ array.size }}},
    {% endfor %}
    };
    static rnla_link::Link link("{{ kernel_key }}", arrays);
    static bool connected = false;
    if (!connected) {
        const auto place = [](const rnla_link::Array& array) {
            std::size_t k = 0;
            while (arrays[k].name != array.name) ++k;
            return k;
        };
        link.store = [=](const rnla_link::Array& array, std::size_t count) { rnla_device::memory().store(place(array), count * array.item); };
        link.fetch = [=](const rnla_link::Array& array, std::size_t count) { rnla_device::memory().fetch(place(array), count * array.item); };
        connected = true;
    }
    {% set due = get_array_name(variables['rnla_block_is_due'], prefix='') %}
    {{ due }}[0] = link.next_block();
    if (!{{ due }}[0]) Network::_globally_stopped = true;  // the run ends with this tick
}
{% endmacro %}
{% macro h_file() %}
#ifndef _INCLUDED_{{ codeobj_name }}
#define _INCLUDED_{{ codeobj_name }}
void _run_{{ codeobj_name }}();
#endif
{% endmacro %}
