#include "image/tiff.h"

#include <string.h>

static int keep_first(TIFF *tif, void *user, const char *module, const char *format, va_list args) {
    (void)tif, (void)module;
    TiffMessage *message = user;
    if (message->text[0] == '\0') vsnprintf(message->text, sizeof message->text, format, args);
    return 1; /* handled: the process-wide handler is not called */
}

static int keep_lost_data(TIFF *tif, void *user, const char *module, const char *format, va_list args) {
    return module != NULL && strcmp(module, "JPEGLib") == 0 ? keep_first(tif, user, module, format, args) : 1;
}

TIFFOpenOptions *tiff_options(TiffMessage *message, Error *e) {
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (options == NULL) {
        error_set(e, BLEMISH_ERROR_MEMORY, "out of memory (libtiff)");
        return NULL;
    }
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_first, message);
    TIFFOpenOptionsSetWarningHandlerExtR(options, keep_lost_data, message);
    return options;
}
