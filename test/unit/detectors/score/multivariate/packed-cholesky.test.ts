import { describe, expect, it } from 'vitest'
import { backSolveTail, factorise, forwardSolve, packedLength, precisionTail } from '../../../../../detectors/score/multivariate/packed-cholesky.ts'
import { chance } from '../../builders.ts'

/** A random positive definite matrix, packed and in full, and the inverse of matrix + ridge by Gauss and Jordan. */
function aMatrix(size: number, ridge: number, seed: number) {
  const { gaussian } = chance(seed)
  const rows = Array.from({ length: 3 * size }, () => Array.from({ length: size }, gaussian))
  const full = Array.from({ length: size }, (_, i) =>
    Array.from({ length: size }, (_, j) => rows.reduce((sum, row) => sum + row[i]! * row[j]!, 0) / rows.length)
  )
  const packed = new Float32Array(packedLength(size))
  let at = 0
  for (let i = 0; i < size; i++) for (let j = 0; j <= i; j++) packed[at++] = full[i]![j]!
  for (let i = 0; i < size; i++) full[i]![i]! += ridge
  return { packed, inverse: invert(full) }
}

function invert(matrix: number[][]): number[][] {
  const size = matrix.length
  const work = matrix.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))])
  for (let pivot = 0; pivot < size; pivot++) {
    const divisor = work[pivot]![pivot]!
    work[pivot] = work[pivot]!.map(entry => entry / divisor)
    for (let row = 0; row < size; row++) {
      if (row === pivot) continue
      const factor = work[row]![pivot]!
      work[row] = work[row]!.map((entry, column) => entry - factor * work[pivot]![column]!)
    }
  }
  return work.map(row => row.slice(size))
}

describe.each([1, 2, 7, 12])('a packed factor of %i rows', size => {
  const first = Math.floor(size / 2)
  const { packed, inverse } = aMatrix(size, 0.05, size)
  const factor = new Float32Array(packedLength(size))
  const scratch = new Float64Array(size * size)
  factorise(packed, 0.05, factor, size, scratch)
  const { gaussian } = chance(99)
  const vector = Float64Array.from({ length: size }, gaussian)
  const product = inverse.map(row => row.reduce((sum, entry, i) => sum + entry * vector[i]!, 0))
  const whitened = new Float64Array(size)
  forwardSolve(factor, vector, whitened, size)

  it('whitens: the square sum is the quadratic form of the inverse', () => {
    const distance = product.reduce((sum, entry, i) => sum + entry * vector[i]!, 0)
    expect(whitened.reduce((sum, entry) => sum + entry * entry, 0)).toBeCloseTo(distance, 4)
  })

  it('solves for the last columns without the first', () => {
    const solved = new Float64Array(size)
    backSolveTail(factor, whitened, solved, first, size)
    for (let i = first; i < size; i++) expect(solved[i]).toBeCloseTo(product[i]!, 4)
  })

  it('knows the diagonal of the inverse for the last columns', () => {
    const precision = new Float32Array(size - first)
    precisionTail(factor, precision, first, size, scratch)
    for (let i = first; i < size; i++) expect(precision[i - first]! / inverse[i]![i]!).toBeCloseTo(1, 4)
  })
})

describe('a matrix that is hardly positive', () => {
  it('of two equal columns and no ridge still has a finite factor', () => {
    const factor = new Float32Array(3)
    factorise(Float32Array.of(1, 1, 1), 0, factor, 2, new Float64Array(4))
    expect(factor.every(Number.isFinite)).toBe(true)
  })
})
