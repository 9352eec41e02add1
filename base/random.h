/* Randomness for jitter and names, not for secrets. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

/* Uniform in [0, n). */
uint64_t random_below(uint64_t n);

#endif
