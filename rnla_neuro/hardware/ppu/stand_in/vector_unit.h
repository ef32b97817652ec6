// Stands in for the processor's vector unit and for the views of synapses and neurons, so that a kernel can be compiled
// and run on any machine. Only what kernels of this package use, written from the public description of that interface:
// lanes of 8 bit, additions and subtractions that wrap (unsigned) or saturate (signed), products that wrap, shifts.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace libnux::vx {

enum class PPUOnDLS
{
	top,
	bottom
};

enum class VectorIfCondition
{
	greater,
	lesser,
	equal
};

template <typename T>
struct Half
{
	T lane[128];
	T& operator[](size_t i) { return lane[i]; }
	T const& operator[](size_t i) const { return lane[i]; }
};

template <typename T, typename Make>
inline void for_lanes(Half<T>& even, Half<T>& odd, Make make)
{
	for (size_t i = 0; i < 128; ++i) {
		even[i] = make(false, i);
		odd[i] = make(true, i);
	}
}

struct vector_row_t
{
	Half<uint8_t> even, odd;
};

struct VectorRowFracSat8;

struct VectorRowMod8
{
	typedef uint8_t Element;
	Half<uint8_t> even, odd;

	VectorRowMod8() = default;
	explicit VectorRowMod8(uint8_t value)
	{
		for_lanes(even, odd, [&](bool, size_t) { return value; });
	}
	explicit VectorRowMod8(vector_row_t const& row) : even(row.even), odd(row.odd) {}
	explicit operator vector_row_t() const { return {even, odd}; }

	template <typename Operation>
	VectorRowMod8 with(VectorRowMod8 const& other, Operation operation) const
	{
		VectorRowMod8 result;
		for_lanes(result.even, result.odd, [&](bool is_odd, size_t i) {
			return is_odd ? uint8_t(operation(odd[i], other.odd[i])) : uint8_t(operation(even[i], other.even[i]));
		});
		return result;
	}
	VectorRowMod8 operator+(VectorRowMod8 const& o) const
	{
		return with(o, [](int a, int b) { return a + b; });
	}
	VectorRowMod8 operator-(VectorRowMod8 const& o) const
	{
		return with(o, [](int a, int b) { return a - b; });
	}
	VectorRowMod8 operator*(VectorRowMod8 const& o) const
	{
		return with(o, [](int a, int b) { return a * b; });
	}
	VectorRowMod8 operator<<(int n) const
	{
		return with(*this, [n](int a, int) { return a << n; });
	}
	VectorRowMod8 operator>>(int n) const
	{
		return with(*this, [n](int a, int) { return a >> n; });
	}
	inline VectorRowFracSat8 convert_contiguous() const;
};

struct VectorRowFracSat8
{
	typedef int8_t Element;
	Half<int8_t> even, odd;

	VectorRowFracSat8() : VectorRowFracSat8(0) {}
	explicit VectorRowFracSat8(int8_t value)
	{
		for_lanes(even, odd, [&](bool, size_t) { return value; });
	}

	static int8_t saturated(int value) { return int8_t(value > 127 ? 127 : value < -128 ? -128 : value); }

	template <typename Operation>
	VectorRowFracSat8 with(VectorRowFracSat8 const& other, Operation operation) const
	{
		VectorRowFracSat8 result;
		for_lanes(result.even, result.odd, [&](bool is_odd, size_t i) {
			return saturated(is_odd ? operation(odd[i], other.odd[i]) : operation(even[i], other.even[i]));
		});
		return result;
	}
	VectorRowFracSat8 operator+(VectorRowFracSat8 const& o) const
	{
		return with(o, [](int a, int b) { return a + b; });
	}
	VectorRowFracSat8 operator-(VectorRowFracSat8 const& o) const
	{
		return with(o, [](int a, int b) { return a - b; });
	}
	VectorRowFracSat8 operator-() const { return VectorRowFracSat8(0) - *this; }
	VectorRowMod8 convert_contiguous() const
	{
		VectorRowMod8 result;
		for_lanes(result.even, result.odd, [&](bool is_odd, size_t i) {
			return uint8_t((is_odd ? odd[i] : even[i]) + 128);
		});
		return result;
	}
};

inline VectorRowFracSat8 VectorRowMod8::convert_contiguous() const
{
	VectorRowFracSat8 result;
	for_lanes(result.even, result.odd, [&](bool is_odd, size_t i) {
		return int8_t((is_odd ? odd[i] : even[i]) - 128);
	});
	return result;
}

inline VectorRowFracSat8 vector_if(
    VectorRowFracSat8 const& mask,
    VectorIfCondition condition,
    VectorRowFracSat8 const& yes,
    VectorRowFracSat8 const& no)
{
	VectorRowFracSat8 result;
	for_lanes(result.even, result.odd, [&](bool is_odd, size_t i) {
		int const value = is_odd ? mask.odd[i] : mask.even[i];
		bool const chosen = condition == VectorIfCondition::greater  ? value > 0
		                    : condition == VectorIfCondition::lesser ? value < 0
		                                                             : value == 0;
		VectorRowFracSat8 const& from = chosen ? yes : no;
		return is_odd ? from.odd[i] : from.even[i];
	});
	return result;
}

} // namespace libnux::vx

namespace grenade::vx::ppu {

struct Bits
{
	std::array<bool, 256> bit{};
	bool test(size_t i) const { return bit.at(i); }
};

// weights of 6 bit; a write reaches the columns of the view only, and one of a wrong value is counted
struct SynapseArrayViewHandle
{
	typedef libnux::vx::vector_row_t Row;
	Bits columns, rows;
	libnux::vx::PPUOnDLS hemisphere = libnux::vx::PPUOnDLS::top;
	std::array<Row, 256>* array = nullptr;
	size_t wrong = 0;

	Row get_weights(size_t row) { return array->at(row); }
	void set_weights(Row const& value, size_t row)
	{
		for (size_t column = 0; rows.test(row) && column < 256; ++column) {
			if (columns.test(column)) {
				uint8_t const weight = (column % 2 ? value.odd : value.even)[column / 2];
				wrong += weight > 63;
				(column % 2 ? array->at(row).odd : array->at(row).even)[column / 2] = weight & 63;
			}
		}
	}
};

struct NeuronViewHandle
{};

} // namespace grenade::vx::ppu
