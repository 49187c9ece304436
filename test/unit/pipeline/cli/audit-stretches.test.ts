// How audit chains are cut into what ClickHouse judges in one statement.

import { describe, expect, test } from 'vitest'
import { batches, type ChainRange } from '../../../../pipeline/cli/audit-stretches.ts'
import type { Anchor } from '../../../../schemas/anchor.ts'

const aChain = (chain: string, last: number, rows = last): ChainRange => ({ chain, first: 1, last, rows })
const cut = (chains: readonly ChainRange[], anchors = new Map<string, Anchor[]>()): string[] =>
  [...batches(chains, anchors)].map(batch =>
    batch.map(({ chain, first, last, isSparse }) => `${chain} ${first}-${last}${isSparse ? ' sparse' : ''}`).join(', ')
  )
const anchoredAt = (chain: string, ...seqs: number[]): Anchor[] => seqs.map(seq => ({ chain, seq, atMs: 0, hash: '', keyId: '', signature: '' }))

describe('batches of stretches', () => {
  test('short chains share a statement, a long one has several', () => {
    expect(cut([aChain('a', 10), aChain('b', 49_990), aChain('c', 1), aChain('d', 120_000)])).toEqual([
      'a 1-10, b 1-49990',
      'c 1-1',
      'd 1-50000',
      'd 50001-100000',
      'd 100001-120000'
    ])
  })

  test('a hundred stretches at the most, however short', () => {
    const chains = Array.from({ length: 250 }, (_, index) => aChain(`chain ${index}`, 1))
    expect([...batches(chains, new Map())].map(batch => batch.length)).toEqual([100, 100, 50])
  })

  test('a chain with far fewer records than places is not judged with others', () => {
    expect(cut([aChain('a', 10), aChain('gap', 1_000_000_000, 2), aChain('b', 10)])).toEqual(['a 1-10', 'gap 1-1000000000 sparse', 'b 1-10'])
  })

  test('landmarks are no more than one answer holds', () => {
    const seqs = Array.from({ length: 2_500 }, (_, index) => 2 + index * 2)
    const anchors = new Map(['a', 'b'].map(chain => [chain, anchoredAt(chain, ...seqs)]))
    expect(cut([aChain('a', 6_000), aChain('b', 6_000)], anchors)).toEqual(['a 1-6000', 'b 1-6000'])
  })

  test('nothing makes no batch', () => {
    expect(cut([])).toEqual([])
  })
})
