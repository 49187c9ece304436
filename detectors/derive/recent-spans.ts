// Recent spans by id, so that a child finds the service that called it, whichever of the two arrives first.
//
// Flow: spans.ts -> recent-spans -> edges.ts. Two direct-mapped tables of fixed size: a newer span takes the place of an
// older one with the same slot, so memory is flat and some relations are missed; edges recur, so they are found soon after.
// Not in the checkpoint for the same reason.

/** Spans remembered, a power of two: some seconds of a busy partition. */
const SPANS_MAX = 65_536

export interface SpanLinks {
  /** Remembers a span: who emitted it (`party`) and, for calls, whom it called (`address`), both numbers of the owner. */
  put(idLow: number, idHigh: number, party: number, address: number): void
  /** Slot of the span, or −1. */
  find(idLow: number, idHigh: number): number
  party(slot: number): number
  address(slot: number): number
}

export function spanLinks(): SpanLinks {
  const ids = new Uint32Array(SPANS_MAX * 2)
  const links = new Uint32Array(SPANS_MAX * 2)
  // Span ids are random by specification; folding both lanes guards against senders that count.
  const slotOf = (idLow: number, idHigh: number): number => (Math.imul(idLow ^ (idHigh >>> 7), 0x9e3779b1) >>> 16) & (SPANS_MAX - 1)
  return {
    put(idLow, idHigh, party, address) {
      const at = slotOf(idLow, idHigh) * 2
      ids[at] = idLow
      ids[at + 1] = idHigh
      links[at] = party
      links[at + 1] = address
    },
    find(idLow, idHigh) {
      const slot = slotOf(idLow, idHigh)
      return ids[slot * 2] === idLow >>> 0 && ids[slot * 2 + 1] === idHigh >>> 0 ? slot : -1
    },
    party: slot => links[slot * 2]!,
    address: slot => links[slot * 2 + 1]!
  }
}
