/* What is said of a manifest is of its bytes, whatever they are. */
#include <assert.h>
#include <stdlib.h>

#include "storage/manifest_info.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_manifest_info struct manifest_info m = {0}, said = {0};
	struct digest d = digest_of_buf(data, size);
	int r = manifest_info_parse(data, size, NULL, &m, NULL);

	if (r < 0) {
		assert(!m.needs && !m.self.media_type);
		return 0;
	}
	assert(m.self.size == size && digest_equal(&m.self.digest, &d));
	assert(m.is_index || m.n_needs > 0);
	if (manifest_info_parse(data, size, m.self.media_type, &said, NULL) < 0)
		abort();
	assert(said.n_needs == m.n_needs && said.is_index == m.is_index);
	return 0;
}
