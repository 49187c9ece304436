// Orders for canaries as people and pipelines give them: completed from the one before, refused at once when they cannot be obeyed.
//
// The reducer in control refuses the same by itself (detectors/canary/canary.ts); here whoever asked is told.

import { AppError } from '../../schemas/errors.ts'
import type { LiveView } from './live-view.ts'

/**
 * Fields of a canary order. All but `start` need `id` and `order` alone: the rest stays as it was said last.
 * @throws AppError `not_found` for an order to a canary that nobody started, `canary_refused` for the start of a quarantined version
 */
export function canaryOrder(view: LiveView, given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (given.order === 'start') {
    refuseQuarantined(view, given)
    return { ...given }
  }
  const known = view.controls().find(record => record.kind === 'canary' && record.id === given.id)
  if (known === undefined) throw new AppError('not_found', `no canary ${String(given.id)}: see \`homeostat canary status\``)
  return { ...known, order: given.order, by: given.by ?? 'console' }
}

function refuseQuarantined(view: LiveView, { environment, service, canary }: Readonly<Record<string, unknown>>): void {
  const held = view
    .canaries()
    .find(other => other.quarantined && other.environment === environment && other.service === service && other.canary.version === canary)
  if (held === undefined) return
  throw new AppError(
    'canary_refused',
    `${held.canary.version} of ${held.service} is quarantined (canary ${held.id} ${held.state}): \`homeostat canary release ${held.id}\` when it may start again`
  )
}
