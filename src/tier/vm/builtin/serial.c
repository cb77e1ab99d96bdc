/* PC16550D data sheet, section 8. There is no receiver: nobody types at a machine's console. */
#include "tier/vm/builtin/serial.h"

#include <unistd.h>

enum {
	THR = 0, IER = 1, FCR_IIR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7,
	IER_THRI = 2, LCR_DLAB = 0x80, LSR_THRE = 0x20, LSR_TEMT = 0x40, IIR_NONE = 1, IIR_THRI = 2, IIR_FIFO = 0xc0, FCR_ENABLE = 1,
	MSR_DCD = 0x80, MSR_DSR = 0x20, MSR_CTS = 0x10, MCR_LOOP = 0x10,
};

void serial_init(struct serial *s, int fd, int irq_fd)
{
	*s = (struct serial){ .lock = PTHREAD_MUTEX_INITIALIZER, .fd = fd, .irq_fd = irq_fd, .s = { .thr_empty = 0 } };
}

static void raise_line(struct serial *s)
{
	uint64_t one = 1;
	if (s->irq_fd >= 0)
		(void)!write(s->irq_fd, &one, sizeof one);
}

uint8_t serial_read(struct serial *s, unsigned reg)
{
	uint8_t v = 0;
	pthread_mutex_lock(&s->lock);
	switch (reg) {
	case THR:
		v = s->s.lcr & LCR_DLAB ? s->s.dll : 0;
		break;
	case IER:
		v = s->s.lcr & LCR_DLAB ? s->s.dlm : s->s.ier;
		break;
	case FCR_IIR:
		v = s->s.thr_empty && s->s.ier & IER_THRI ? IIR_THRI : IIR_NONE;
		if (v == IIR_THRI)
			s->s.thr_empty = 0; /* reading it acknowledges it */
		v |= s->s.fcr & FCR_ENABLE ? IIR_FIFO : 0;
		break;
	case LCR:
		v = s->s.lcr;
		break;
	case MCR:
		v = s->s.mcr;
		break;
	case LSR:
		v = LSR_THRE | LSR_TEMT;
		break;
	case MSR:
		v = s->s.mcr & MCR_LOOP ? (uint8_t)((s->s.mcr & 0x0c) << 4 | (s->s.mcr & 2) << 3 | (s->s.mcr & 1) << 5) : MSR_DCD | MSR_DSR | MSR_CTS;
		break;
	case SCR:
		v = s->s.scr;
		break;
	}
	pthread_mutex_unlock(&s->lock);
	return v;
}

static void transmit(struct serial *s, uint8_t v)
{
	if (!(s->s.mcr & MCR_LOOP) && s->fd >= 0)
		(void)!write(s->fd, &v, 1);
	s->s.thr_empty = 1;
	if (s->s.ier & IER_THRI)
		raise_line(s);
}

void serial_write(struct serial *s, unsigned reg, uint8_t v)
{
	pthread_mutex_lock(&s->lock);
	switch (reg) {
	case THR:
		if (s->s.lcr & LCR_DLAB)
			s->s.dll = v;
		else
			transmit(s, v);
		break;
	case IER:
		if (s->s.lcr & LCR_DLAB) {
			s->s.dlm = v;
			break;
		}
		if (v & ~s->s.ier & IER_THRI) { /* being enabled with an empty register is an event by itself */
			s->s.thr_empty = 1;
			raise_line(s);
		}
		s->s.ier = v & 0x0f;
		break;
	case FCR_IIR:
		s->s.fcr = v;
		break;
	case LCR:
		s->s.lcr = v;
		break;
	case MCR:
		s->s.mcr = v & 0x1f;
		break;
	case SCR:
		s->s.scr = v;
		break;
	}
	pthread_mutex_unlock(&s->lock);
}

void serial_revive(struct serial *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->s.thr_empty && s->s.ier & IER_THRI)
		raise_line(s);
	pthread_mutex_unlock(&s->lock);
}
