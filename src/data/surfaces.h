/* surfaces: a table of families of procedural surfaces, programs drawn from them, samples of programs, and defects on
 * samples (docs/surfaces.md). Everything is a function of (seed, program, sample). Only src/data and src/api include
 * it. Lengths are pixels; a family that shows objects fits them to the picture, in 1/128 of its shorter side. */
#ifndef BLEMISH_SURFACES_H
#define BLEMISH_SURFACES_H

#include "data/data.h"

/* ---- families: surface_noise.c, _weave.c, _cells.c, _print.c, _object.c; the table is surface_families.c ---- */

enum { SURFACE_KNOBS = 8 };
/* A program's continuous parameters, in the order of its family's ranges. */
typedef struct SurfaceKnobs {
    float k[SURFACE_KNOBS];
} SurfaceKnobs;

/* A row of n points (u, v), and what the family says of each: tone 0 to 1 is a place in the palette, tint 0 to 1 one
 * across it (0.5: none), relief a height in pixels. */
typedef struct SurfaceRow {
    const float *u, *v;
    float *tone, *tint, *relief;
    size_t n;
} SurfaceRow;
typedef void SurfaceField(const SurfaceKnobs *knobs, uint32_t key, const SurfaceRow *row);
SurfaceField surface_brushed, surface_paper, surface_concrete, surface_marble, surface_wood, surface_granite,
    surface_patina, surface_speckle, surface_rolled, surface_weave, surface_knit, surface_ribs, surface_mesh,
    surface_tiles, surface_carpet, surface_perforated, surface_leather, surface_grains, surface_foam, surface_pebbles,
    surface_leaves, surface_fibres, surface_chips, surface_labyrinth, surface_motifs, surface_text, surface_halftone,
    surface_board, surface_turned, surface_milled, surface_stripes, surface_capsule, surface_screw, surface_nut,
    surface_casting, surface_cap, surface_scatter, surface_gear, surface_kernel, surface_cable;
/* Where a mixture shows its second part: 0 to 1 into row->tone. */
SurfaceField surface_border;

typedef struct SurfaceRange {
    const char *name; /* NULL ends the list */
    float low, high;  /* drawn uniformly, by the logarithm where low > 0 and high >= 4 low */
} SurfaceRange;

typedef enum SurfaceColours { COLOURS_ANY, COLOURS_METAL, COLOURS_EARTH, COLOURS_PALE } SurfaceColours;

typedef struct SurfaceFamily {
    const char *name;
    SurfaceField *field;
    SurfaceColours colours;
    float relief; /* how strongly its relief is lit, at most */
    bool object;  /* shows one thing in the middle, not an endless plane */
    SurfaceRange ranges[SURFACE_KNOBS + 1];
} SurfaceFamily;

enum { SURFACE_FAMILIES = 41 };
extern const SurfaceFamily surface_families[SURFACE_FAMILIES];
#define SURFACE_ALL (((uint64_t)1 << SURFACE_FAMILIES) - 1)

/* ---- surface_program.c: what is drawn for a program and for a sample ---------------------------------------- */

typedef struct SurfaceColour {
    float rgb[3];
} SurfaceColour;

typedef struct SurfaceProgram {
    const SurfaceFamily *family;
    uint64_t seed; /* of all that its samples draw */
    uint32_t key;  /* of its noise */
    SurfaceKnobs knobs;
    const SurfaceFamily *parts[2]; /* of a mixture, else NULL */
    SurfaceKnobs part_knobs[2];
    SurfaceColour palette[4], tint;
    float angle;           /* of the texture in the picture, turns */
    float bump, gloss;     /* shading of relief, strength of highlights */
    float light, slope;    /* direction of the light in turns, how unevenly it falls */
    float vignette, noise; /* darkening of the corners, deviation of the sensor's noise */
    float blur;            /* weight of a neighbour in the three-tap blur, 0 to 1/4 */
    float patchy;          /* strength of broad unevenness */
} SurfaceProgram;

/* The place and the camera of one sample. */
typedef struct SurfaceSample {
    float cosine, sine; /* pixel to material, the scale included */
    float left, top;    /* the material's place at the picture's centre */
    float level, contrast, colour[3];
    float bump;                      /* the program's, of a relief in pixels */
    float light_x, light_y, light_z; /* unit vector towards the light */
    float slope_x, slope_y, vignette, blur, noise;
    uint32_t key; /* of the sensor's noise */
} SurfaceSample;

/* The program-th program of the enabled families (a bit set, not 0), which take turns. */
SurfaceProgram surface_program(uint64_t seed, uint64_t families, uint64_t program);
/* nuisance 0: every sample has the same light and camera, 1: they vary as between photographs of one line. */
SurfaceSample surface_sample(const SurfaceProgram *p, uint64_t sample, float nuisance, size_t width, size_t height);

/* ---- surface_flaw.c: defects -------------------------------------------------------------------------------- */

/* What a defect does where its cover is 1, in the order in which it happens. */
typedef struct Flaw {
    float shift_x, shift_y, fray; /* pixels: the surface is taken from elsewhere, displaced by noise */
    float flatten, height;        /* its relief is flattened, raised */
    float replace, tone, tint;    /* its tone and tint are replaced */
    float multiply[3], add;       /* its colour is multiplied, brightened */
    uint32_t key;                 /* of the displacing noise */
} Flaw;

enum { FLAW_FAMILIES = 10 };
/* In alphabetical order; NULL past the end. */
const char *flaw_name(size_t flaw);

/* ---- surface_render.c --------------------------------------------------------------------------------------- */

/* Scratch space for pictures of one size; a thread has its own. */
typedef struct SurfaceCanvas {
    size_t width, height;
    float *rows;                 /* (8, width): a row's points, its light, parts of a mixture */
    float *tone, *tint, *relief; /* (height, width) */
    float *red, *green, *blue;   /* (height, width) */
    float *cover;                /* (height, width), of a defect */
    uint8_t *good;               /* (height, width, 3): a defect's picture without it */
    uint8_t *mask;               /* (height, width), where the caller has none */
} SurfaceCanvas;
BlemishStatus surface_canvas_open(SurfaceCanvas *c, size_t width, size_t height, Error *e);
void surface_canvas_close(SurfaceCanvas *c);
/* Paints (height, width, 3) pixels; flaw NULL, or one whose cover the canvas holds. */
void surface_paint_sample(SurfaceCanvas *c, const SurfaceProgram *p, const SurfaceSample *s, const Flaw *flaw,
                          uint8_t *rgb);

/* surface_flaw.c: a sample with a defect. Mask (height, width) is 255 exactly where a colour differs from the sample
 * without it by FLAW_DIFFERENCE levels or more, elsewhere 0, and never empty. */
enum { FLAW_DIFFERENCE = 4 };
void surface_paint_flawed(SurfaceCanvas *c, const SurfaceProgram *p, const SurfaceSample *s, size_t flaw,
                          uint64_t sample, uint8_t *rgb, uint8_t *mask);

/* ---- surface_images.c --------------------------------------------------------------------------------------- */

/* BLEMISH_ERROR_ARGUMENT for what cannot be painted; fills in families 0. */
BlemishStatus surface_settings_check(BlemishSurfaceSettings *settings, Error *e);
/* blemish_surface_images of checked settings, on settings->threads threads (1 or more). */
BlemishStatus surface_images(const BlemishSurfaceSettings *settings, size_t count, const uint64_t *programs,
                             const uint64_t *samples, const int32_t *defects, uint8_t *rgb, uint8_t *masks, Error *e);
/* surface_sheet.c: a picture of the enabled families and their defects. */
BlemishStatus surface_sheet(const BlemishSurfaceSettings *settings, const char *path, Error *e);

#endif
