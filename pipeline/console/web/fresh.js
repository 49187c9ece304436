// Keeps what the page shows as new as what the server has.

import { get } from './api.js'
import { useEffect, useRef, useState } from './lib/hooks.js'

const RETRY_MS = 2000

/**
 * What the server answers at `path` (null: nothing is asked), read again whenever one of `reasons` changes.
 * An answer stays until the next one comes, one that fails is asked for again.
 * @returns the newest answer, `initial` before the first
 */
export function useFresh(path, initial, reasons) {
  const [answer, setAnswer] = useState(initial)
  const reader = useRef(null)
  useEffect(() => {
    if (path === null) return setAnswer(initial)
    reader.current = openReader(path, setAnswer, () => setAnswer(initial))
    return reader.current.close
  }, [path])
  useEffect(() => {
    if (path !== null) reader.current.read()
  }, [path, ...reasons])
  return answer
}

/** Grows by one every `intervalMs`: a reason to read again what has no event. */
export function useTicks(intervalMs) {
  const [ticks, setTicks] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => setTicks(count => count + 1), intervalMs)
    return () => clearInterval(timer)
  }, [])
  return ticks
}

/**
 * Reads one path, one read at a time and one more when it was asked for meanwhile: of two reads under way the older
 * answer may come last, and would stay on the page. `onMissing` is called for a read that fails before any answer came.
 */
function openReader(path, onAnswer, onMissing) {
  let state = 'idle'
  let answered = false
  let timer
  const read = async () => {
    if (state !== 'idle') {
      if (state === 'reading') state = 'asked again'
      return
    }
    state = 'reading'
    clearTimeout(timer)
    try {
      const answer = await get(path)
      if (state === 'closed') return
      answered = true
      onAnswer(answer)
    } catch {
      if (state === 'closed') return
      if (!answered) onMissing()
      timer = setTimeout(read, RETRY_MS)
    }
    const isAskedAgain = state === 'asked again'
    state = 'idle'
    if (isAskedAgain) read()
  }
  const close = () => {
    state = 'closed'
    clearTimeout(timer)
  }
  return { read, close }
}
