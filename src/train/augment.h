/* One way to show a training image: turned, brought to the network's size, lit otherwise, shifted and flipped, in this
 * order. Image and mask go through the same steps, but light leaves masks alone. */
#ifndef BLEMISH_AUGMENT_H
#define BLEMISH_AUGMENT_H

#include "data/data.h"
#include "image/image.h"
#include "train/train.h"

typedef struct Augmentation {
    unsigned turn;              /* quarter turns counter-clockwise of the image as it is, 0 to 3 */
    float contrast, brightness; /* factors: 1 changes nothing */
    ptrdiff_t down, right;      /* pixels of the network's input; what that uncovers repeats the border */
    Flip flip;
} Augmentation;
#define AUGMENT_NONE ((Augmentation){.contrast = 1, .brightness = 1})

/* Draws contrast, brightness and shift within the recipe's limits; the same number of draws whatever they are. */
void augment_draw(Augmentation *a, const Recipe *recipe, Random *random);
/* The network's input (height, width, 3). On pixels in [0, 1]: the distance from the image's mean is multiplied by
 * contrast, then all by brightness, then what leaves [0, 1] is clamped. roi, or NULL: a region of interest of one
 * channel of 0 and 1, which stands for the whole image; outside the input is 0. Fails where memory is short. */
BlemishStatus augment_image(const Augmentation *a, const BlemishImage *image, const BlemishImage *roi, size_t height,
                            size_t width, float *input, Error *e);
/* A mask of 0 and 1 of any size, turned and brought to (height, width): what augment_mask goes on from. */
BlemishStatus augment_turn_mask(unsigned turn, const BlemishImage *mask, size_t height, size_t width, uint8_t *out,
                                Error *e);
/* Halves the shift until at least half of the mask's pixels stay in the picture, so that a defective image keeps its
 * defect. mask: augment_turn_mask's. */
void augment_keep_defect(Augmentation *a, const uint8_t *mask, size_t height, size_t width);
/* A region of interest of the network's input size as the view shows it: what a shift uncovers repeats its border. */
BlemishStatus augment_roi(const Augmentation *a, const BlemishImage *roi, uint8_t *out, Error *e);
/* Shifts and flips a turned mask in place. */
void augment_mask(const Augmentation *a, uint8_t *mask, size_t height, size_t width);

#endif
