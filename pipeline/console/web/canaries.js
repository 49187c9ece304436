// Canaries: each new version beside its baseline, how far apart they are in errors and latency, and what was made of it.
//
// A picture shows the difference with the interval in which it lies, and what is tolerated; the sentence under it says the same.

import { tell } from './api.js'
import { moment } from './format.js'
import htm from './lib/htm.js'
import { h } from './lib/preact.js'

const html = htm.bind(h)
const SHOWN_MAX = 8
/** A canary is a line to open, once it is decided and that is no longer news. */
const UNDECIDED = ['running', 'paused', 'inconclusive', 'no_data']
const NEWS_MS = 3_600_000
const ORDERS = {
  running: ['pause', 'abort'],
  paused: ['resume', 'abort'],
  inconclusive: ['resume', 'abort', 'release'],
  no_data: ['resume', 'abort', 'release'],
  passed: ['abort'],
  failed: ['release'],
  aborted: ['release']
}

const WIDTH = 340
const HEIGHT = 52
const MIDDLE = WIDTH / 2
const BAR_Y = 20
const BAR_HEIGHT = 10
/** A scale is never narrower than this many times what is tolerated. */
const REACH_MIN = 2

/** What is compared: `same` is where both arms are alike, `place` makes distances from it additive. */
const MEASURES = [
  {
    name: 'errors',
    field: 'errorDifference',
    same: 0,
    place: difference => difference,
    unit: 'points',
    text: difference => signed(100 * difference)
  },
  {
    name: '95th percentile',
    field: 'latencyRatio',
    same: 1,
    place: ratio => Math.log(ratio),
    unit: 'times',
    text: ratio => ratio.toFixed(2)
  }
]

const signed = number => `${number > 0 ? '+' : ''}${number.toFixed(1)}`
const known = number => number !== null && number !== undefined && Number.isFinite(number)

/** Nothing when there are none. `choose` shows an incident. */
export function Canaries({ canaries, controls, incidents, choose }) {
  if (canaries.length === 0) return null
  const orderOf = canary => controls.find(({ kind, id }) => kind === 'canary' && id === canary.id)
  const incidentOf = ({ environment, service, canary }) =>
    incidents.find(({ environment: where, causes: [cause] }) => where === environment && cause?.entity === `${service}@${canary.version}`)
  return html`<section class="canaries" aria-label="Canaries">
    <h2>Canaries</h2>
    ${canaries.slice(0, SHOWN_MAX).map(canary => html`<${Canary} key=${canary.id} canary=${canary} order=${orderOf(canary)} incident=${incidentOf(canary)} choose=${choose} />`)}
    ${canaries.length > SHOWN_MAX && html`<p class="empty">… and ${canaries.length - SHOWN_MAX} earlier: homeostat canary status</p>`}
  </section>`
}

function Canary({ canary, order, incident, choose }) {
  const { environment, service, state, quarantined, looks, by, startedAtMs, updatedAtMs } = canary
  return html`<details open=${UNDECIDED.includes(state) || Date.now() - updatedAtMs < NEWS_MS}>
    <summary>
      <b>${service}</b> ${canary.canary.version} <small>against</small> ${canary.baseline.version} <small>in ${environment} since ${moment(startedAtMs)} </small>
      <span class="pill ${state}">${state.replace('_', ' ')}</span>${quarantined && html` <span class="pill failed">quarantined</span>`}
    </summary>
    <div class="said">
      <p>${canary.reason} <small>(${by}, ${moment(updatedAtMs)}${looks > 0 ? `, ${looks} ${looks === 1 ? 'look' : 'looks'}` : ''})</small></p>
      ${incident && html`<button onClick=${() => choose(incident.id)}>Its incident</button>`}${(ORDERS[state] ?? []).map(name => html`<${Order} name=${name} canary=${canary} />`)}
    </div>
    <div class="arms">
      <${Arms} canary=${canary} />
      ${MEASURES.map(measure => html`<${Difference} measure=${measure} interval=${canary[measure.field]} tolerated=${order?.[measure.field]} />`)}
    </div>
  </details>`
}

function Order({ name, canary: { id, service, canary } }) {
  const give = () => {
    if (name === 'abort' && !confirm(`Roll back ${canary.version} of ${service} and quarantine it?`)) return
    tell('api/controls', { kind: 'canary', id, order: name, by: 'console' })
  }
  return html`<button class=${name === 'abort' ? 'danger' : ''} onClick=${give}>${name[0].toUpperCase() + name.slice(1)}</button>`
}

function Arms({ canary: { canary, baseline, samplesMin } }) {
  const rows = [
    ['canary', canary],
    ['baseline', baseline]
  ]
  return html`<table><tbody>
    <tr><th></th><th>requests</th><th>failed</th></tr>
    ${rows.map(
      ([name, { requests, errors }]) => html`<tr>
        <td>${name}</td>
        <td class="number">${requests.toLocaleString('en')}${requests < samplesMin ? ` of ${samplesMin}` : ''}</td>
        <td class="number">${errors.toLocaleString('en')}${requests > 0 ? ` (${((100 * errors) / requests).toFixed(1)} %)` : ''}</td>
      </tr>`
    )}
  </tbody></table>`
}

function Difference({ measure, interval, tolerated }) {
  const { name } = measure
  if (interval === null) return html`<figure><figcaption><b>${name}</b> not looked at yet</figcaption></figure>`
  const words = wordsOf(measure, interval, tolerated)
  return html`<figure>
    <figcaption><b>${name}</b> ${words}</figcaption>
    <${Picture} measure=${measure} interval=${interval} tolerated=${tolerated} words=${words} />
  </figure>`
}

function wordsOf({ text, unit }, { estimate, lower, upper }, tolerated) {
  const bound = value => (known(value) ? text(value) : 'unbounded')
  const measured = known(estimate) ? `${text(estimate)} ${unit} (${bound(lower)} to ${bound(upper)})` : 'too few requests to tell'
  return known(tolerated) ? `${measured}, ${text(tolerated)} tolerated` : measured
}

/** Better than the baseline to the left, worse to the right; the shade ends where it is no longer tolerated. */
function Picture({ measure: { name, same, place }, interval: { estimate, lower, upper }, tolerated, words }) {
  const marks = [estimate, lower, upper].filter(value => known(value) && known(place(value)))
  const reach = 1.05 * Math.max(REACH_MIN * Math.abs(place(known(tolerated) ? tolerated : same)), ...marks.map(value => Math.abs(place(value))), 0.01)
  const x = value => Math.max(0, Math.min(WIDTH, MIDDLE * (1 + place(value) / reach)))
  const [from, to] = [known(lower) ? x(lower) : 0, known(upper) ? x(upper) : WIDTH]
  return html`<svg class="difference" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`${name}: ${words}`}>
    ${known(tolerated) && html`<rect class="tolerated" x="0" y="6" width=${x(tolerated)} height=${HEIGHT - 22} />`}
    <line x1=${MIDDLE} x2=${MIDDLE} y1="6" y2=${HEIGHT - 16} />
    <text x=${MIDDLE} y=${HEIGHT - 3} text-anchor="end">same</text>
    ${known(tolerated) && html`<line class="limit" x1=${x(tolerated)} x2=${x(tolerated)} y1="6" y2=${HEIGHT - 16} /><text x=${x(tolerated)} y=${HEIGHT - 3}>tolerated</text>`}
    <text x="0" y=${HEIGHT - 3}>better</text>
    <text x=${WIDTH} y=${HEIGHT - 3} text-anchor="end">worse</text>
    ${known(estimate) && html`<g class=${judged(lower, upper, tolerated)}><rect x=${from} y=${BAR_Y} width=${Math.max(2, to - from)} height=${BAR_HEIGHT} rx="3" /><circle cx=${x(estimate)} cy=${BAR_Y + BAR_HEIGHT / 2} r="6" /></g>`}
  </svg>`
}

/** Surely tolerated, surely not, or neither yet. */
function judged(lower, upper, tolerated) {
  if (known(upper) && upper < tolerated) return 'good'
  return known(lower) && lower > tolerated ? 'bad' : 'warn'
}
