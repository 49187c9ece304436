// The page's line to the server: JSON reads and writes, and the event stream that comes back by itself.

const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? sessionStorage.getItem('token') ?? ''
if (token) sessionStorage.setItem('token', token)
const headers = token ? { authorization: `Bearer ${token}` } : {}

/** A read that hangs is given up, so that it can be tried again; of an order that hangs its giver is told. */
const ANSWER_TIMEOUT_MS = 10_000
const REOPEN_MS = 2000

export async function get(path) {
  const response = await fetch(path, { headers, signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) })
  if (!response.ok) throw new Error((await response.json()).error?.message ?? response.statusText)
  return response.json()
}

export async function post(path, body) {
  const response = await fetch(path, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json', 'x-homeostat': 'console' },
    signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    body: JSON.stringify(body)
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.error?.message ?? response.statusText)
  return answer
}

/** Posts what a person pressed; what went wrong is said to them. */
export const tell = (path, body) => post(path, body).catch(error => alert(error.message))

/**
 * Calls `onEvent(kind, record)` for every record; `onState(connected)` when the line goes up or down. A line that breaks the
 * browser opens again; one that is refused (a proxy whose server starts, too many readers) it gives up, so that is done here.
 */
export function listen(onEvent, onState) {
  let source
  let timer
  const open = () => {
    source = new EventSource(`api/events${token ? `?token=${encodeURIComponent(token)}` : ''}`)
    for (const kind of ['incident', 'anomaly', 'decision', 'outcome', 'control', 'canary', 'model']) {
      source.addEventListener(kind, event => onEvent(kind, JSON.parse(event.data)))
    }
    source.onopen = () => onState(true)
    source.onerror = () => {
      onState(false)
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, REOPEN_MS)
    }
  }
  open()
  return () => {
    clearTimeout(timer)
    source.close()
  }
}
