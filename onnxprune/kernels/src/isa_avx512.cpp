// The inner loops for AVX-512: thirty-two registers of sixteen floats.
#include "isa.h"

#ifdef ONNXPRUNE_EMULATE_AVX512
// The same loops and tiles with each vector in two halves: tests run them on machines without AVX-512.
#pragma GCC target("avx2,fma")
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=512")
#endif

namespace onnxprune {
namespace avx512 {

constexpr int kLanes = 16;
constexpr int kStripVectors = 2;  // 12 × 32 sums are 24 registers
constexpr int kRows = 12;
constexpr int kChannels = 8;  // 8 × 48 sums, likewise

#include "isa_kernels.inc"

}  // namespace avx512

const Isa kAvx512 = {
    "avx512",
    avx512::kLanes,
    avx512::kStrip,
    avx512::kRows,
    avx512::kChannels,
    3,
    {
        {},
        {nullptr, avx512::row_tile<1, 1>, avx512::row_tile<1, 2>},
        {nullptr, avx512::row_tile<2, 1>, avx512::row_tile<2, 2>},
        {nullptr, avx512::row_tile<3, 1>, avx512::row_tile<3, 2>},
        {nullptr, avx512::row_tile<4, 1>, avx512::row_tile<4, 2>},
        {nullptr, avx512::row_tile<5, 1>, avx512::row_tile<5, 2>},
        {nullptr, avx512::row_tile<6, 1>, avx512::row_tile<6, 2>},
        {nullptr, avx512::row_tile<7, 1>},
        {nullptr, avx512::row_tile<8, 1>},
        {nullptr, avx512::row_tile<9, 1>},
        {nullptr, avx512::row_tile<10, 1>},
        {nullptr, avx512::row_tile<11, 1>},
        {nullptr, avx512::row_tile<12, 1>},
    },
    {
        {},
        {nullptr, avx512::pixel_tile<1, 1>, avx512::pixel_tile<1, 2>, avx512::pixel_tile<1, 3>},
        {nullptr, avx512::pixel_tile<2, 1>, avx512::pixel_tile<2, 2>, avx512::pixel_tile<2, 3>},
        {nullptr, avx512::pixel_tile<3, 1>, avx512::pixel_tile<3, 2>, avx512::pixel_tile<3, 3>},
        {nullptr, avx512::pixel_tile<4, 1>, avx512::pixel_tile<4, 2>, avx512::pixel_tile<4, 3>},
        {nullptr, avx512::pixel_tile<5, 1>, avx512::pixel_tile<5, 2>, avx512::pixel_tile<5, 3>},
        {nullptr, avx512::pixel_tile<6, 1>, avx512::pixel_tile<6, 2>, avx512::pixel_tile<6, 3>},
        {nullptr, avx512::pixel_tile<7, 1>, avx512::pixel_tile<7, 2>, avx512::pixel_tile<7, 3>},
        {nullptr, avx512::pixel_tile<8, 1>, avx512::pixel_tile<8, 2>, avx512::pixel_tile<8, 3>},
    },
    avx512::transpose,
    avx512::copy_rows,
    avx512::activate,
};

}  // namespace onnxprune
