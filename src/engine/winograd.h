/* Private to the engine: 3x3 convolutions of stride 1 by Winograd's algorithm. */
#ifndef BLEMISH_WINOGRAD_H
#define BLEMISH_WINOGRAD_H

#include "engine/engine.h"

typedef struct Winograd Winograd;

/* Outputs along a tile's side, 4 or 2, or 0 where a direct convolution is faster or the shape is another. By the shape
 * of one image alone: a choice by timing or batch would change an image's last bits from run to run. */
size_t winograd_tile(const ConvShape *shape);
/* tile: 2 or 4; the shape is one that winograd_tile does not refuse for its kind (see there). weight and bias as in
 * conv_open; both are copied. */
BlemishStatus winograd_open(Winograd **out, const ConvShape *shape, size_t tile, const float *weight, const float *bias,
                            int threads, Error *e);
/* As conv_run. Cannot fail; the bits do not depend on the number of threads. */
void winograd_run(const Winograd *winograd, const float *src, float *dst, void *scratch);
size_t winograd_scratch(const Winograd *winograd);
void winograd_close(Winograd *winograd);

#endif
