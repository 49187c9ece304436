// The entity of a telemetry row, computed in SQL as schemas/entity.ts computes it from the same resource attributes.
//
// An expression and not a column: the tables stay the exporter's, whoever made them. A test compares both on the same resources.

import { FALLBACK_ENTITY_ATTRIBUTE } from '../../schemas/entity.ts'

const UUID = '^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$'

const attribute = (name: string): string => `ResourceAttributes['${name}']`
/** The first of the attributes that is not empty; an absent key of a map reads as ''. */
const first = (a: string, b: string): string => `if(${attribute(a)} != '', ${attribute(a)}, ${attribute(b)})`

const INSTANCE = `if(${attribute('service.instance.id')} != '' AND NOT match(${attribute('service.instance.id')}, '${UUID}'), ${attribute('service.instance.id')}, ${attribute('host.name')})`
const SERVICE = first('service.name', 'k8s.deployment.name')
const NAMESPACE = first('service.namespace', 'k8s.namespace.name')

/** Expression over ResourceAttributes that gives the row's entity; '' where intake left neither identity nor fallback. */
export const ENTITY_SQL = `if(${SERVICE} = '',
  if(${INSTANCE} != '', concat('@', ${INSTANCE}), ${attribute(FALLBACK_ENTITY_ATTRIBUTE)}),
  concat(if(${NAMESPACE} != '', concat(${NAMESPACE}, '/'), ''), ${SERVICE}, if(${INSTANCE} != '', concat('@', ${INSTANCE}), '')))`

/** True where the row is of `{entity:String}`; an entity without an instance means every instance of the service. */
export const ENTITY_MATCHES_SQL = `(${ENTITY_SQL} = {entity:String} OR (position({entity:String}, '@') = 0 AND startsWith(${ENTITY_SQL}, concat({entity:String}, '@'))))`

/** True where the row is of `{environment:String}` or names none; '' asks for any. */
export const ENVIRONMENT_MATCHES_SQL = `({environment:String} = '' OR ${first('deployment.environment.name', 'deployment.environment')} IN ('', {environment:String}))`

/**
 * Every value that the ServiceName column can have in rows of this entity, so that the order key narrows the search before the
 * expression is computed. '' is among them: resources without service.name (bare hosts, deployments) have it.
 */
export function serviceNames(entity: string): string[] {
  const names = new Set([''])
  const starts = [0, ...positions(entity, '/').map(at => at + 1)]
  const ends = [...positions(entity, '@'), entity.length]
  for (const start of starts) for (const end of ends) if (start < end) names.add(entity.slice(start, end))
  return [...names].slice(0, NAMES_MAX)
}

/** Names with very many slashes or at-signs are nobody's services; an entity is at most a few hundred characters anyway. */
const NAMES_MAX = 200

function positions(text: string, char: string): number[] {
  const found: number[] = []
  for (let at = text.indexOf(char); at >= 0; at = text.indexOf(char, at + 1)) found.push(at)
  return found
}
