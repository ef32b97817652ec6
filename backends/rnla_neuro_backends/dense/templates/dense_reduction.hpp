{# The reduction over the neurons of one agent, `_agent`, of dense_reduction.cpp and .cu; the text before it sets p, target and index. #}
{{p.real}} _largest = -INFINITY, _total = 0;
for (int _idx = _agent*{{p.n}}; _idx < (_agent + 1)*{{p.n}}; _idx++)
{
    const {{index}} _vectorisation_idx = _idx;
    {{real_code(vector_code, p.real, variables)|autoindent}}
    {{target}}[_idx] = _value;
    _largest = _value > _largest ? ({{p.real}})_value : _largest;
    _total += _value;
}
{% if p.kind == 'softmax' %}
_total = 0;
for (int _idx = _agent*{{p.n}}; _idx < (_agent + 1)*{{p.n}}; _idx++)
{
    {{target}}[_idx] = {{exp}}({{target}}[_idx] - _largest);
    _total += {{target}}[_idx];
}
{% endif %}
const {{p.real}} _result = {{ {'softmax': '1/_total', 'sum': '_total', 'mean': '_total/' ~ p.n, 'max': '_largest'}[p.kind] }};
for (int _idx = _agent*{{p.n}}; _idx < (_agent + 1)*{{p.n}}; _idx++)
    {{target}}[_idx] = _result{{ '*' ~ target ~ '[_idx]' if p.kind == 'softmax' }};
