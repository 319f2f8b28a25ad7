/* The short way to read the PNG files that cameras and programs write. */
#ifndef BLEMISH_DECODE_PNG_H
#define BLEMISH_DECODE_PNG_H

#include "image/decode.h"

/* Fills `out` (its size known and checked, RGB) from a file of 8-bit samples, `samples` a pixel, 1 to 4, without a
 * palette and not interlaced. libdeflate inflates twice as fast as zlib, but only what is whole and plain. False, with
 * nothing said, where it is not: the other reader finds out what is wrong. */
bool png_decode_plain(const Encoded *file, size_t samples, BlemishImage *out);

#endif
