{# Forms traces from buffered factors: z = base*z + sum over steps k of weight[k]*pre[k]^T post[k].

   A small tile of z is held in registers while all steps are added to it; the factors are packed, so that the
   inner loop reads memory in its order. Vectors are those of the compiler, so that no flag is needed.
#}
#include <vector>
#include <cstring>
#if defined(__AVX512F__)
#define DENSE_BYTES 64
#elif defined(__AVX__)
#define DENSE_BYTES 32
#else
#define DENSE_BYTES 16
#endif
namespace {
template <typename real, int rows> struct DenseTile
{
    typedef real vector __attribute__((vector_size(DENSE_BYTES)));
    static const int lanes = DENSE_BYTES/sizeof(real), columns = 2*lanes;

    // steps x columns of the postsynaptic factors and steps x rows of the presynaptic ones, both contiguous
    static inline void add(real* z, const real* post, const real* pre, const real base, const int steps,
                           const int stride, const int valid_rows, const int valid_columns)
    {
        vector sum[rows][2];
        for (int r = 0; r < rows; r++)
            sum[r][0] = sum[r][1] = vector() ;
        for (int k = 0; k < steps; k++)
        {
            vector left, right;
            std::memcpy(&left, post + (size_t)k*columns, sizeof(vector));
            std::memcpy(&right, post + (size_t)k*columns + lanes, sizeof(vector));
            for (int r = 0; r < rows; r++)
            {
                sum[r][0] += pre[(size_t)k*rows + r]*left;
                sum[r][1] += pre[(size_t)k*rows + r]*right;
            }
        }
        for (int r = 0; r < valid_rows; r++)
        {
            real line[columns];
            std::memcpy(line, &sum[r][0], sizeof(line));
            for (int c = 0; c < valid_columns; c++)
                z[(size_t)r*stride + c] = base*z[(size_t)r*stride + c] + line[c];
        }
    }
};

template <typename real>
void dense_flush(real* z, const real* post, const real* pre, const double* weight, const double base,
                 const int steps, const int n_pre, const int n_post)
{
    const int rows = 4, columns = DenseTile<real, rows>::columns;
    const int row_tiles = (n_pre + rows - 1)/rows;
    static thread_local std::vector<real> pre_packed, post_packed;
    pre_packed.resize((size_t)row_tiles*rows*steps + 1);
    post_packed.resize((size_t)columns*steps + 1);
    for (int tile = 0; tile < row_tiles; tile++)
        for (int k = 0; k < steps; k++)
            for (int r = 0; r < rows; r++)
            {
                const int row = tile*rows + r;
                pre_packed[((size_t)tile*steps + k)*rows + r] =
                    row < n_pre ? (real)(weight[k]*pre[(size_t)k*n_pre + row]) : (real)0;
            }
    for (int col = 0; col < n_post; col += columns)
    {
        const int valid = n_post - col < columns ? n_post - col : columns;
        for (int k = 0; k < steps; k++)
            for (int c = 0; c < columns; c++)
                post_packed[(size_t)k*columns + c] = c < valid ? post[(size_t)k*n_post + col + c] : (real)0;
        for (int tile = 0; tile < row_tiles; tile++)
        {
            const int row = tile*rows;
            DenseTile<real, rows>::add(z + (size_t)row*n_post + col, post_packed.data(),
                                       pre_packed.data() + (size_t)tile*steps*rows, (real)base, steps, n_post,
                                       n_pre - row < rows ? n_pre - row : rows, valid);
        }
    }
}
}
