// Whether what is said of one target holds for another: a service and each of its instances are the same matter.

import { entityService } from '../../../schemas/entity.ts'

/** `shop/orders` overlaps `shop/orders@orders-1`; two instances do not overlap. */
export function overlap(a: string, b: string): boolean {
  return a === b || entityService(a) === b || entityService(b) === a
}
