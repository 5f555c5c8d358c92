/* Attention over a f32 cache; see attention.h for the layout and the order of accumulation. */
#include "common.h"
#define ELEMENT float
#define VLOAD vload_f32
#define TO_F32(x) (x)
#define NAME attention_f32
#include "attention_body.h"
