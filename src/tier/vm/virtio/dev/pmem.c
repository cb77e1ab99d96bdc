/* virtio-pmem (virtio 1.2, section 5.19): the file is guest memory already; the device flushes it. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pmem.h>
#include <string.h>
#include <unistd.h>

#include "tier/vm/virtio/devices.h"

enum { ALIGN = 2 << 20 /* Linux maps persistent memory by sections and huge pages; less is refused by its driver */ };

struct pmem {
	struct virtio_device d;
	struct virtio_pmem_config config;
	int fd;
};

static struct pmem *pmem_of(struct virtio_device *d) { return (struct pmem *)d; }

static void kick(struct virtio_device *d, unsigned queue)
{
	struct pmem *p = pmem_of(d);
	struct virtq_chain c;
	while (virtio_pop(d, queue, &c)) {
		struct virtio_pmem_req q;
		struct virtio_pmem_resp r = { 1 }; /* anything but 0 is an error (5.19.7) */
		if (iov_read(CHAIN_OUT(&c), 0, &q, sizeof q) == sizeof q && q.type == VIRTIO_PMEM_REQ_TYPE_FLUSH && fdatasync(p->fd) == 0)
			r.ret = 0;
		virtio_push(d, queue, c.head, (uint32_t)iov_write(CHAIN_IN(&c), 0, &r, sizeof r));
	}
	virtio_signal(d, queue);
}

static void pmem_free(struct virtio_device *d)
{
	close(pmem_of(d)->fd);
	free(d);
}

static const struct virtio_ops ops = { .name = "pmem", .id = VIRTIO_ID_PMEM, .kick = kick, .free = pmem_free };

int virtio_pmem_new(const struct virtio_host *h, unsigned slot, const struct virtio_pmem_options *c, struct virtio_device **ret, struct err *e)
{
	if (!c->size || c->gpa % ALIGN || c->size % ALIGN || c->gpa + c->size < c->gpa)
		return err_set(e, EINVAL, "pmem: place and size are multiples of 2 MiB");
	for (size_t i = 0; i < h->mem->n; i++)
		if (c->gpa < h->mem->region[i].gpa + h->mem->region[i].size && h->mem->region[i].gpa < c->gpa + c->size)
			return err_set(e, EINVAL, "pmem: in the place of memory");
	struct pmem *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, ENOMEM, "pmem");
	p->fd = c->fd;
	p->config = (struct virtio_pmem_config){ c->gpa, c->size };
	virtio_device_init(&p->d, &ops, h, slot, 1, 0);
	p->d.config = (uint8_t *)&p->config;
	p->d.config_len = sizeof p->config;
	*ret = &p->d;
	return 0;
}
