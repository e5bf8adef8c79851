// The kernels for one ELEMENT; KERNEL_SOURCE is the file with their source.
#include "machine.h"

namespace {

using u32 = unsigned;
using u16 = unsigned short;

inline u32 shared_address(const void* p) {
  return static_cast<u32>(static_cast<const unsigned char*>(p) - emulated::shared());
}
inline void copy_async(u32 to, const void* from, bool real) { emulated::copy_async(to, from, real); }
inline void end_copies() { emulated::end_copies(); }
template <int N>
void wait_copies() {
  emulated::wait_copies(N);
}
inline void block_barrier() { emulated::barrier(); }
inline void load_matrices(u32 (&r)[4], u32 address) { emulated::load_matrices(r, address); }

#if ELEMENT == 0
float widen(u16 value) {
  _Float16 half;
  std::memcpy(&half, &value, 2);
  return static_cast<float>(half);
}
u16 narrow(float value) {
  const _Float16 half = static_cast<_Float16>(value);
  u16 bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}
#elif ELEMENT == 1
float widen(u16 value) { return emulated::float_of(static_cast<u32>(value) << 16); }
u16 narrow(float value) {
  if (value != value) return 0x7fff;
  const u32 bits = emulated::bits_of(value);
  return static_cast<u16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
#endif

#if ELEMENT < 2
float value_of(u32 reg, int element) { return widen(static_cast<u16>(reg >> 16 * element)); }
constexpr int kInRegister = 2;
#else
// tensor cores do not look at the lowest 13 bits
float value_of(u32 reg, int) { return emulated::float_of(reg & ~0x1fffU); }
constexpr int kInRegister = 1;
#endif
inline void multiply_matrices(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  emulated::multiply(c, a, b0, b1, kInRegister, value_of);
}
// to the nearest of 10 bits behind the point, ties away from zero
inline u32 round_tf32(u32 value) {
  const float wide = emulated::float_of(value);
  return std::isfinite(wide) ? (value + 0x1000) & ~0x1fffU : value;
}

#define COPIES 1
#define PRODUCTS 1
#include KERNEL_SOURCE

#define REGISTER(name, Argument) \
  const emulated::Registered registered_##name(ELEMENT, #name, [](const void* a) { name(*static_cast<const Argument*>(a)); })
REGISTER(product_128x128, Layer);
REGISTER(product_128x64, Layer);
REGISTER(product_128x32, Layer);
REGISTER(product_64x64, Layer);
REGISTER(product_32x64, Layer);
REGISTER(product_16x32, Layer);
REGISTER(copy_weight, WeightCopy);
REGISTER(copy_image, InputCopy);
REGISTER(copy_rows, InputCopy);

}  // namespace
