// Adds the low-rank products of many adapters to the rows of a batch, in place:
//
//     y[t] += scale_a * B_a (A_a x[t])        a = the adapter of row t
//
// x [T, in] and y [T, out] are bf16, A_a [rank_a, in] and B_a [out, rank_a] too; every sum is kept
// in f32. Ranks are multiples of 8 up to 64, widths are multiples of 8.
//
// Rows come in tiles: up to FEW_ROWS rows of one adapter, which are bound by the bandwidth that A
// and B take, or up to MANY_ROWS rows, which go through tensor cores. Either way there are two
// launches, "shrink" (low = A x, cut along `in` into pieces of PIECE numbers) and "expand"
// (y += scale B low, the pieces added up in their order). One launch serves up to MAX_JOBS
// projections. Nothing is added atomically: the same rows give the same bits, whatever other
// rows the batch has.
//
// The file is compiled at run time by NVRTC, and by a C++ compiler into an emulation (emulate.cpp).

#define FEW_ROWS 4
#define FEW_THREADS 256
#define MANY_ROWS 32
#define MANY_THREADS 128
#define MANY_COLUMNS 512
#define PIECE 1024
#define MAX_RANK 64
#define MAX_JOBS 4
// 16-byte vectors of B that one block of lora_expand_few reads.
#define EXPAND_VECTORS 2048

typedef unsigned short bf16;
typedef unsigned long long u64;

// Rows `row .. row + rows` of the batch use the adapter in `slot`; rows = 0: an empty place.
struct Tile {
    int row, rows, slot, unused;
};

// One adapter's matrices for one projection; rank = 0: it leaves this projection alone.
struct Entry {
    u64 a, b;
    int rank;
    float scale;
    u64 unused;
};

// One projection of this launch.
struct Job {
    u64 x, y, table, low;
    int in, out;
    int x_stride, y_stride; // numbers between rows
    int pieces;             // ceil(in / PIECE)
    int out_tiles;          // blocks along `out` in this launch's expand
};

struct Launch {
    Job jobs[MAX_JOBS];
    u64 tiles;
    int job_count;
    int rank_stride; // the largest rank that any entry has
    int out_tile;    // rows of B that one block of expand takes
    int slot_stride; // entries between one slot and the next
};

// Entries stand together by slot, so that an adapter is put into its place by one copy.
__device__ __forceinline__ Entry entry_of(const Launch &p, const Job &job, const Tile &tile) {
    return ((const Entry *)job.table)[(size_t)tile.slot * p.slot_stride];
}

struct Work {
    const Job *job;
    int part; // which piece of `in`, or which tile of `out`
};

// The job that block `at` of the grid's first dimension belongs to.
template <bool SHRINK> __device__ __forceinline__ Work pick(const Launch &p, int at) {
    int j = 0;
#pragma unroll
    for (int i = 0; i < MAX_JOBS - 1; i++) {
        int n = SHRINK ? p.jobs[j].pieces : p.jobs[j].out_tiles;
        if (i < p.job_count - 1 && j == i && at >= n) {
            at -= n;
            j = i + 1;
        }
    }
    Work work = {&p.jobs[j], at};
    return work;
}

__device__ __forceinline__ float low_half(unsigned v) { return __uint_as_float(v << 16); }
__device__ __forceinline__ float high_half(unsigned v) { return __uint_as_float(v & 0xffff0000u); }

__device__ __forceinline__ float dot2(unsigned a, unsigned b, float sum) {
    sum = fmaf(low_half(a), low_half(b), sum);
    return fmaf(high_half(a), high_half(b), sum);
}

__device__ __forceinline__ float dot8(uint4 a, uint4 b, float sum) {
    return dot2(a.w, b.w, dot2(a.z, b.z, dot2(a.y, b.y, dot2(a.x, b.x, sum))));
}

// Where row `row`'s piece `piece` of the low-rank sums stands.
__device__ __forceinline__ float *low_at(const Launch &p, const Job &job, int row, int piece) {
    return (float *)job.low + ((size_t)row * job.pieces + piece) * p.rank_stride;
}

// A row's low-rank sum, its pieces added in order, times the adapter's scale.
__device__ __forceinline__ float low_sum(const Launch &p, const Job &job, int row, int r, float scale) {
    const float *at = low_at(p, job, row, 0) + r;
    float sum = 0.0f;
    for (int piece = 0; piece < job.pieces; piece++) {
        sum += at[(size_t)piece * p.rank_stride];
    }
    return sum * scale;
}

// ---------------------------------------------------------------- few rows

template <int ROWS>
__device__ __forceinline__ void shrink_rows(const Launch &p, const Job &job, const Tile &tile,
                                            const Entry &entry, int piece, int vectors,
                                            const uint4 (*xs)[PIECE / 8]) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int steps = PIECE / 8 / 32;
    for (int r = warp; r < entry.rank; r += FEW_THREADS / 32) {
        const uint4 *a = (const uint4 *)((const bf16 *)entry.a + (size_t)r * job.in + piece * PIECE);
        uint4 held[steps];
#pragma unroll
        for (int s = 0; s < steps; s++) {
            int v = s * 32 + lane;
            if (v < vectors) held[s] = __ldg(a + v);
        }
        float sums[ROWS];
#pragma unroll
        for (int t = 0; t < ROWS; t++) {
            sums[t] = 0.0f;
#pragma unroll
            for (int s = 0; s < steps; s++) {
                int v = s * 32 + lane;
                if (v < vectors && t < tile.rows) sums[t] = dot8(held[s], xs[t][v], sums[t]);
            }
#pragma unroll
            for (int d = 16; d > 0; d /= 2) sums[t] += __shfl_xor_sync(0xffffffffu, sums[t], d);
        }
        if (lane == 0) {
#pragma unroll
            for (int t = 0; t < ROWS; t++) {
                if (t < tile.rows) low_at(p, job, tile.row + t, piece)[r] = sums[t];
            }
        }
    }
}

// Grid: (pieces of all jobs, tiles). One block: one piece of `in`, all ranks of one adapter.
KERNEL __global__ void __launch_bounds__(FEW_THREADS, 4) lora_shrink_few(const __grid_constant__ Launch p) {
    __shared__ uint4 xs[FEW_ROWS][PIECE / 8];
    const Tile tile = ((const Tile *)p.tiles)[blockIdx.y];
    if (tile.rows <= 0) return;
    const Work work = pick<true>(p, blockIdx.x);
    const Job &job = *work.job;
    const Entry entry = entry_of(p, job, tile);
    if (entry.rank <= 0) return;
    const int start = work.part * PIECE;
    const int vectors = min(PIECE, job.in - start) / 8;
    for (int i = threadIdx.x; i < tile.rows * (PIECE / 8); i += FEW_THREADS) {
        int t = i / (PIECE / 8), v = i % (PIECE / 8);
        if (v < vectors) {
            const bf16 *row = (const bf16 *)job.x + (size_t)(tile.row + t) * job.x_stride;
            xs[t][v] = ((const uint4 *)(row + start))[v];
        }
    }
    __syncthreads();
    if (tile.rows == 1) {
        shrink_rows<1>(p, job, tile, entry, work.part, vectors, xs);
    } else {
        shrink_rows<FEW_ROWS>(p, job, tile, entry, work.part, vectors, xs);
    }
}

// Grid: (tiles of `out` of all jobs, tiles). One block: up to `out_tile` rows of one B.
KERNEL __global__ void __launch_bounds__(FEW_THREADS, 3) lora_expand_few(const __grid_constant__ Launch p) {
    __shared__ __align__(16) float low[FEW_ROWS][MAX_RANK];
    __shared__ float parts[EXPAND_VECTORS];
    const int held_vectors = EXPAND_VECTORS / FEW_THREADS;
    const Tile tile = ((const Tile *)p.tiles)[blockIdx.y];
    if (tile.rows <= 0) return;
    const Work work = pick<false>(p, blockIdx.x);
    const Job &job = *work.job;
    const Entry entry = entry_of(p, job, tile);
    if (entry.rank <= 0) return;
    const int first = work.part * p.out_tile;
    const int rows = min(p.out_tile, job.out - first);
    const int per_row = entry.rank / 8;
    const int vectors = rows * per_row;

    // B is asked for first, so that it is under way while the low-rank sums are added up.
    const uint4 *b = (const uint4 *)((const bf16 *)entry.b + (size_t)first * entry.rank);
    uint4 held[held_vectors];
#pragma unroll
    for (int i = 0; i < held_vectors; i++) {
        int v = i * FEW_THREADS + threadIdx.x;
        if (v < vectors) held[i] = __ldg(b + v);
    }
    for (int i = threadIdx.x; i < tile.rows * entry.rank; i += FEW_THREADS) {
        int t = i / entry.rank, r = i % entry.rank;
        low[t][r] = low_sum(p, job, tile.row + t, r, entry.scale);
    }
    __syncthreads();
    for (int t = 0; t < tile.rows; t++) {
#pragma unroll
        for (int i = 0; i < held_vectors; i++) {
            int v = i * FEW_THREADS + threadIdx.x;
            if (v < vectors) {
                const float4 *l = (const float4 *)&low[t][(v % per_row) * 8];
                const float4 l0 = l[0], l1 = l[1];
                float sum = low_half(held[i].x) * l0.x;
                sum = fmaf(high_half(held[i].x), l0.y, sum);
                sum = fmaf(low_half(held[i].y), l0.z, sum);
                sum = fmaf(high_half(held[i].y), l0.w, sum);
                sum = fmaf(low_half(held[i].z), l1.x, sum);
                sum = fmaf(high_half(held[i].z), l1.y, sum);
                sum = fmaf(low_half(held[i].w), l1.z, sum);
                parts[v] = fmaf(high_half(held[i].w), l1.w, sum);
            }
        }
        __syncthreads();
        bf16 *y = (bf16 *)job.y + (size_t)(tile.row + t) * job.y_stride + first;
        for (int n = threadIdx.x; n < rows; n += FEW_THREADS) {
            float sum = 0.0f;
            for (int q = 0; q < per_row; q++) sum += parts[n * per_row + q];
            y[n] = (bf16)pack_bf16(low_half(y[n]) + sum, 0.0f);
        }
        __syncthreads();
    }
}

// ---------------------------------------------------------------- many rows
//
// Fragments of mma.m16n8k16 (lane = 4 g + t): the left operand holds rows g and g + 8, the right
// one column g, each at k = 2t, 2t+1, 2t+8, 2t+9; the result holds rows g and g + 8 at columns
// 2t, 2t+1. A sum over k does not mind in which order k is taken, so each lane reads 8 numbers
// that stand together, k = 8t .. 8t+8 of 32, as one vector, and uses its words in two products:
// x, y in the first, z, w in the second. Both operands are laid out alike, so the products match.

__device__ __forceinline__ void multiply(float (&c)[4], uint4 a0, uint4 a8, uint4 b) {
    mma_bf16(c, a0.x, a8.x, a0.y, a8.y, b.x, b.y);
    mma_bf16(c, a0.z, a8.z, a0.w, a8.w, b.z, b.w);
}

// Grid: (pieces of all jobs, tiles). The warps take turns along the piece.
KERNEL __global__ void __launch_bounds__(MANY_THREADS, 4) lora_shrink_many(const __grid_constant__ Launch p) {
    __shared__ float sums[MANY_THREADS / 32][MANY_ROWS][MAX_RANK + 1];
    const Tile tile = ((const Tile *)p.tiles)[blockIdx.y];
    if (tile.rows <= 0) return;
    const Work work = pick<true>(p, blockIdx.x);
    const Job &job = *work.job;
    const Entry entry = entry_of(p, job, tile);
    if (entry.rank <= 0) return;
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int start = work.part * PIECE;
    const int length = min(PIECE, job.in - start);
    const bf16 *x = (const bf16 *)job.x + (size_t)tile.row * job.x_stride + start;
    const bf16 *a = (const bf16 *)entry.a + start;
    const uint4 none = {0u, 0u, 0u, 0u};

    float c[2][MAX_RANK / 8][4];
#pragma unroll
    for (int m = 0; m < 2; m++) {
#pragma unroll
        for (int n = 0; n < MAX_RANK / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) c[m][n][i] = 0.0f;
        }
    }
    for (int step = warp * 32; step < length; step += MANY_THREADS) {
        const int k = step + 8 * t;
        const bool inside = k < length;
        uint4 rows[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = g + 8 * i;
            rows[i] = inside && row < tile.rows ? *(const uint4 *)(x + (size_t)row * job.x_stride + k) : none;
        }
#pragma unroll
        for (int n = 0; n < MAX_RANK / 8; n++) {
            if (n < entry.rank / 8) {
                const int r = 8 * n + g;
                const uint4 column = inside ? __ldg((const uint4 *)(a + (size_t)r * job.in + k)) : none;
                multiply(c[0][n], rows[0], rows[1], column);
                multiply(c[1][n], rows[2], rows[3], column);
            }
        }
    }
#pragma unroll
    for (int m = 0; m < 2; m++) {
#pragma unroll
        for (int n = 0; n < MAX_RANK / 8; n++) {
            if (n < entry.rank / 8) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    sums[warp][16 * m + g + 8 * (i / 2)][8 * n + 2 * t + i % 2] = c[m][n][i];
                }
            }
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < tile.rows * entry.rank; i += MANY_THREADS) {
        const int row = i / entry.rank, r = i % entry.rank;
        float sum = 0.0f;
#pragma unroll
        for (int w = 0; w < MANY_THREADS / 32; w++) sum += sums[w][row][r];
        low_at(p, job, tile.row + row, work.part)[r] = sum;
    }
}

// Grid: (tiles of `out` of all jobs, tiles). A warp takes 32 columns of y at a time, in four
// products whose columns are dealt out so that each lane ends with 8 that stand together.
KERNEL __global__ void __launch_bounds__(MANY_THREADS, 4) lora_expand_many(const __grid_constant__ Launch p) {
    __shared__ float low[MANY_ROWS][MAX_RANK + 1];
    const Tile tile = ((const Tile *)p.tiles)[blockIdx.y];
    if (tile.rows <= 0) return;
    const Work work = pick<false>(p, blockIdx.x);
    const Job &job = *work.job;
    const Entry entry = entry_of(p, job, tile);
    if (entry.rank <= 0) return;
    for (int i = threadIdx.x; i < MANY_ROWS * MAX_RANK; i += MANY_THREADS) {
        const int row = i / MAX_RANK, r = i % MAX_RANK;
        const bool inside = row < tile.rows && r < entry.rank;
        low[row][r] = inside ? low_sum(p, job, tile.row + row, r, entry.scale) : 0.0f;
    }
    __syncthreads();
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    // The f32 sums as two bf16 each, the number and what its rounding left, so that the products
    // are as exact as those of the other path.
    uint4 number[4][2], rest[4][2];
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int k = 0; k < MAX_RANK / 32; k++) {
            unsigned words[2][4];
#pragma unroll
            for (int w = 0; w < 4; w++) {
                const float l = low[g + 8 * i][32 * k + 8 * t + 2 * w];
                const float h = low[g + 8 * i][32 * k + 8 * t + 2 * w + 1];
                words[0][w] = pack_bf16(l, h);
                words[1][w] = pack_bf16(l - low_half(words[0][w]), h - high_half(words[0][w]));
            }
            const uint4 n = {words[0][0], words[0][1], words[0][2], words[0][3]};
            const uint4 d = {words[1][0], words[1][1], words[1][2], words[1][3]};
            number[i][k] = n;
            rest[i][k] = d;
        }
    }
    const bf16 *b = (const bf16 *)entry.b;
    const uint4 none = {0u, 0u, 0u, 0u};
    const int first = work.part * p.out_tile;
    const int last = min(first + p.out_tile, job.out);
    for (int column = first + 32 * warp; column < last; column += MANY_THREADS) {
        float c[2][4][4];
#pragma unroll
        for (int q = 0; q < 4; q++) {
#pragma unroll
            for (int i = 0; i < 4; i++) c[0][q][i] = c[1][q][i] = 0.0f;
            const int n = column + g / 2 * 8 + q * 2 + g % 2;
#pragma unroll
            for (int k = 0; k < MAX_RANK / 32; k++) {
                if (32 * k < entry.rank) {
                    const int r = 32 * k + 8 * t;
                    const bool inside = n < job.out && r < entry.rank;
                    const uint4 v = inside ? __ldg((const uint4 *)(b + (size_t)n * entry.rank + r)) : none;
                    multiply(c[0][q], number[0][k], number[1][k], v);
                    multiply(c[1][q], number[2][k], number[3][k], v);
                    multiply(c[0][q], rest[0][k], rest[1][k], v);
                    multiply(c[1][q], rest[2][k], rest[3][k], v);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = g + 8 * i;
            if (row < tile.rows && column + 8 * t < job.out) {
                uint4 *y = (uint4 *)((bf16 *)job.y + (size_t)(tile.row + row) * job.y_stride + column + 8 * t);
                uint4 v = *y;
                const int m = i / 2, h = i % 2 * 2;
                v.x = pack_bf16(low_half(v.x) + c[m][0][h], high_half(v.x) + c[m][0][h + 1]);
                v.y = pack_bf16(low_half(v.y) + c[m][1][h], high_half(v.y) + c[m][1][h + 1]);
                v.z = pack_bf16(low_half(v.z) + c[m][2][h], high_half(v.z) + c[m][2][h + 1]);
                v.w = pack_bf16(low_half(v.w) + c[m][3][h], high_half(v.w) + c[m][3][h + 1]);
                *y = v;
            }
        }
    }
}
