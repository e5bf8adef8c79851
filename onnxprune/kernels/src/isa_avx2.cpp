// The inner loops for AVX2 and FMA: sixteen registers of eight floats.
#include "isa.h"

#pragma GCC target("avx2,fma")

namespace onnxprune {
namespace avx2 {

constexpr int kLanes = 8;
constexpr int kStripVectors = 2;  // 6 × 16 sums are 12 registers; weights and a broadcast input take three more
constexpr int kRows = 6;
constexpr int kChannels = 4;  // 4 × 24 sums, likewise

#include "isa_kernels.inc"

}  // namespace avx2

const Isa kAvx2 = {
    "avx2",
    avx2::kLanes,
    avx2::kStrip,
    avx2::kRows,
    avx2::kChannels,
    3,
    {
        {},
        {nullptr, avx2::row_tile<1, 1>, avx2::row_tile<1, 2>},
        {nullptr, avx2::row_tile<2, 1>, avx2::row_tile<2, 2>},
        {nullptr, avx2::row_tile<3, 1>, avx2::row_tile<3, 2>},
        {nullptr, avx2::row_tile<4, 1>},
        {nullptr, avx2::row_tile<5, 1>},
        {nullptr, avx2::row_tile<6, 1>},
    },
    {
        {},
        {nullptr, avx2::pixel_tile<1, 1>, avx2::pixel_tile<1, 2>, avx2::pixel_tile<1, 3>},
        {nullptr, avx2::pixel_tile<2, 1>, avx2::pixel_tile<2, 2>, avx2::pixel_tile<2, 3>},
        {nullptr, avx2::pixel_tile<3, 1>, avx2::pixel_tile<3, 2>, avx2::pixel_tile<3, 3>},
        {nullptr, avx2::pixel_tile<4, 1>, avx2::pixel_tile<4, 2>, avx2::pixel_tile<4, 3>},
    },
    avx2::transpose,
    avx2::copy_rows,
    avx2::activate,
};

}  // namespace onnxprune
