/* A region of interest from good images: the part of the picture that changes from image to image. */
#ifndef BLEMISH_ROI_H
#define BLEMISH_ROI_H

#include "data/data.h"

enum { ROI_IMAGES_LEAST = 8, ROI_IMAGES_MOST = 200 };
/* As blemish_roi_learn says; reads at most ROI_IMAGES_MOST of the images, evenly spread. mask (height, width). */
BlemishStatus roi_learn(const Manifest *manifest, size_t height, size_t width, uint8_t *mask, BlemishRoi *found,
                        BlemishProgressFn progress, void *progress_user, Error *e);

#endif
