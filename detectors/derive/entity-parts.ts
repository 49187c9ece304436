// An entity's text taken apart, so that derived points carry resource attributes from which the same entity is read again.

import type { DerivedPoint } from '../../schemas/otlp.ts'

/** `shop/orders@orders-1` -> namespace shop, service orders, instance orders-1. Joined again by schemas/entity.ts. */
export function entityParts(entity: string, environment: string): DerivedPoint['entity'] {
  const at = entity.indexOf('@')
  const head = at < 0 ? entity : entity.slice(0, at)
  const slash = head.indexOf('/')
  return {
    namespace: slash < 0 ? '' : head.slice(0, slash),
    service: slash < 0 ? head : head.slice(slash + 1),
    instance: at < 0 ? '' : entity.slice(at + 1),
    environment
  }
}
