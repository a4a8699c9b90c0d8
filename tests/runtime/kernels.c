/* Kernels for the run time's tests: each reads its slots in the order of its hand-written manifest entry. */
#include <stdint.h>

#ifdef LEVEL /* what this library claims that the machine runs */
int32_t tilebuild_level(void) { return LEVEL; }
#define BOTH_LEVELS(NAME, BODY)                                                                                        \
  void NAME##_v2(const int64_t *s, int64_t part, int64_t parts) { const int level = 2; BODY }                          \
  void NAME##_v3(const int64_t *s, int64_t part, int64_t parts) { const int level = 3; BODY }
/* ptr:y dim:N: y = the level that ran */
BOTH_LEVELS(level, for (int64_t i = 0; i < s[1]; i++) ((int32_t *)s[0])[i] = level + 10 * (part == 0 && parts == 1);)
#else

/* ptr:x ptr:y dim:M dim:N stride:x:0 stride:y:0 scalar:a: y = a * x */
void scale(const int64_t *s, int64_t part, int64_t parts) {
  union { uint32_t bits; float value; } a = {(uint32_t)s[6]};
  for (int64_t i = part; i < s[2]; i += parts)
    for (int64_t j = 0; j < s[3]; j++)
      ((float *)s[1])[i * s[5] + j] = a.value * ((const float *)s[0])[i * s[4] + j];
}

/* ptr:x ptr:y dim:N: y[N + 1] = the running sum of x, from 0 */
void running_sum(const int64_t *s, int64_t part, int64_t parts) {
  float sum = 0;
  for (int64_t i = 0; i <= s[2]; i++) {
    ((float *)s[1])[i] = sum;
    if (i < s[2]) sum += ((const float *)s[0])[i];
  }
}

/* ptr:x ptr:total ptr:largest dim:N */
void total_and_largest(const int64_t *s, int64_t part, int64_t parts) {
  const float *x = (const float *)s[0];
  float total = 0, largest = x[0];
  for (int64_t i = 0; i < s[3]; i++) {
    total += x[i];
    largest = x[i] > largest ? x[i] : largest;
  }
  *(float *)s[1] = total;
  *(float *)s[2] = largest;
}

/* ptr:x dim:N: x += 1 */
void increment(const int64_t *s, int64_t part, int64_t parts) {
  for (int64_t i = 0; i < s[1]; i++) ((int32_t *)s[0])[i] += 1;
}

/* ptr:y dim:N, then N slots: y[i] = the low bits of slot i */
void slot_bits(const int64_t *s, int64_t part, int64_t parts) {
  for (int64_t i = 0; i < s[1]; i++) ((uint32_t *)s[0])[i] = (uint32_t)s[2 + i];
}

/* ptr:y dim:N: y = a number that says which entry ran */
#define MARK(NAME, VALUE)                                                                                              \
  void NAME(const int64_t *s, int64_t part, int64_t parts) {                                                           \
    for (int64_t i = 0; i < s[1]; i++) ((int32_t *)s[0])[i] = VALUE;                                                   \
  }
MARK(mark_1, 1)
MARK(mark_2, 2)
MARK(mark_3, 3)
#endif
