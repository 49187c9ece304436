// Entity = the stable identity of what emits telemetry. It keys partitions, series, incidents and targets.
//
// Never *all* resource attributes: those change with each restart. A random `service.instance.id` (a UUID, as the SDK
// specification recommends) changes too, so it does not count as stable and the host stands in.

/** The resource attributes that make an entity, in the order of ENTITY_ATTRIBUTES. */
export const ENTITY_ATTRIBUTES = [
  'service.namespace',
  'service.name',
  'service.instance.id',
  'host.name',
  'k8s.namespace.name',
  'k8s.deployment.name',
  'deployment.environment.name',
  'deployment.environment',
  'homeostat.entity'
] as const

/** Resource attribute that intake adds to a resource naming neither service nor host: the configured name or the peer's address. */
export const FALLBACK_ENTITY_ATTRIBUTE = 'homeostat.entity'

export interface EntityIdentity {
  /** `namespace/service@instance`; namespace and instance only where known: `orders`, `shop/orders@orders-1`, `@web-7` for a bare host. */
  entity: string
  service: string
  environment: string
}

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i

/**
 * Identity from resource attributes.
 * @param attribute value of one resource attribute, or undefined
 * @param fallback  used whole as the entity when the resource names neither service nor host and intake left no `homeostat.entity`
 */
export function entityIdentity(attribute: (name: string) => string | undefined, fallback: { entity: string; environment: string }): EntityIdentity {
  const environment = attribute('deployment.environment.name') || attribute('deployment.environment') || fallback.environment
  const service = attribute('service.name') || attribute('k8s.deployment.name')
  const instanceId = attribute('service.instance.id')
  const instance = instanceId && !UUID.test(instanceId) ? instanceId : attribute('host.name')
  if (!service) return { entity: instance ? `@${instance}` : attribute(FALLBACK_ENTITY_ATTRIBUTE) || fallback.entity, service: '', environment }
  const namespace = attribute('service.namespace') || attribute('k8s.namespace.name')
  return { entity: `${namespace ? `${namespace}/` : ''}${service}${instance ? `@${instance}` : ''}`, service, environment }
}

/** The service part of an entity: `shop/orders@orders-1` → `shop/orders`. Spans and logs aggregate per service. */
export function entityService(entity: string): string {
  const at = entity.indexOf('@')
  return at <= 0 ? entity : entity.slice(0, at)
}

/** Whether what is said of one target holds for another: `shop/orders` overlaps `shop/orders@orders-1`; two instances do not overlap. */
export function overlap(a: string, b: string): boolean {
  return a === b || entityService(a) === b || entityService(b) === a
}
