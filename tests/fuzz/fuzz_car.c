/* Blocks lie one after another inside the archive; written again, they have the same bytes after
 * the header. */
#include <assert.h>

#include "common/car.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct car_block block;
	struct buf out;
	struct car car;

	if (car_open(span_of(data, size), &car) < 0)
		return 0;
	assert(car.blocks.left <= size && car.blocks.ptr + car.blocks.left == data + size);
	while (car_more(&car)) {
		struct reader before = car.blocks;

		if (car_next(&car, &block) < 0) {
			assert(car.blocks.ptr == before.ptr && car.blocks.left == before.left);
			break;
		}
		buf_init(&out, size);
		car_put_block(&out, &block.cid, block.data);
		assert(span_equal(buf_span(&out),
				  span_of(before.ptr, before.left - car.blocks.left)));
		buf_release(&out);
	}
	return 0;
}
