// A page: what a channel to people is given.

/** A notification channel for people. */
export interface Escalation {
  /** Delivers or throws AppError `escalation_failed` (retriable). `dedupKey` makes repeats one page. */
  notify(page: Page): Promise<void>
}
export interface Page {
  /** acknowledge: somebody has it, nobody else need be called. */
  action: 'trigger' | 'acknowledge' | 'resolve'
  /** The incident: one page each. */
  dedupKey: string
  /** Of one delivery, the same in every repeat of it. */
  idempotencyKey?: string
  severity: 'critical' | 'warning' | 'info'
  summary: string
  /** page: calls somebody now; ticket: waits for working hours. */
  urgency?: 'page' | 'ticket'
  /** Who owns the service; null: nobody is named. */
  owner?: string | null
  details: Readonly<Record<string, unknown>>
}
