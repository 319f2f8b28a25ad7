/* libtiff's messages, per file instead of through its process-wide handlers. */
#ifndef BLEMISH_IMAGE_TIFF_H
#define BLEMISH_IMAGE_TIFF_H

#include "base/base.h"

#include <tiffio.h>

/* The first failure libtiff told of; empty while there is none. */
typedef struct TiffMessage {
    char text[512];
} TiffMessage;

/* Options that send errors to `message` and drop warnings, but for those of the JPEG codec, which mean lost data.
 * Freed with TIFFOpenOptionsFree after opening; message must outlive the TIFF. NULL when memory is short. */
TIFFOpenOptions *tiff_options(TiffMessage *message, Error *e);

#endif
