/* Attention over a f16 cache; see attention.h for the layout and the order of accumulation. */
#include "common.h"
#define ELEMENT uint16_t
#define VLOAD vload_f16
#define TO_F32(x) f16_to_f32(x)
#define NAME attention_f16
#include "attention_body.h"
