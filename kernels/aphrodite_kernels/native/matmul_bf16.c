/* Matmul with bf16 weights; see matmul.h for the layout and the order of accumulation. */
#include "common.h"
#define WEIGHT uint16_t
#define VLOAD vload_bf16
#define NAME matmul_bf16
#include "matmul_body.h"
