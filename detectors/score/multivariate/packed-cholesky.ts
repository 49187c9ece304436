// Cholesky factors of symmetric matrices, kept packed by rows in single precision: entry (i, j), j <= i, is at i(i+1)/2 + j.
//
// The diagonal of a factor holds reciprocals, so that solving never divides. Sums run in double precision in a scratch
// that all entities share; what is stored is rounded once. Source: Golub & Van Loan, "Matrix Computations", 4th ed., 4.2.5 (by rows).

/** Pivots are at least this: rounding to single precision may take a little from a matrix that is hardly positive. */
const PIVOT_MIN = 1e-6

/** Floats of a packed symmetric matrix or factor of `size` rows. */
export function packedLength(size: number): number {
  return (size * (size + 1)) / 2
}

/**
 * Writes the factor L of `matrix` + `ridge` · I = L Lᵀ. O(size³ / 6).
 * @param scratch at least size² doubles, overwritten
 */
export function factorise(matrix: Float32Array, ridge: number, factor: Float32Array, size: number, scratch: Float64Array): void {
  let row = 0
  // Two rows at a time: each row of L above them is loaded once for both.
  for (; row + 1 < size; row += 2) {
    const first = row * size
    const second = first + size
    const packedFirst = packedLength(row)
    const packedSecond = packedFirst + row + 1
    for (let column = 0; column < row; column++) {
      const above = column * size
      let sumFirst = matrix[packedFirst + column]!
      let sumSecond = matrix[packedSecond + column]!
      for (let k = 0; k < column; k++) {
        const entry = scratch[above + k]!
        sumFirst -= scratch[first + k]! * entry
        sumSecond -= scratch[second + k]! * entry
      }
      const reciprocal = scratch[above + column]!
      scratch[first + column] = sumFirst * reciprocal
      scratch[second + column] = sumSecond * reciprocal
    }
    finishRow(matrix, ridge, scratch, size, row, row)
    finishRow(matrix, ridge, scratch, size, row + 1, row)
  }
  if (row < size) finishRow(matrix, ridge, scratch, size, row, 0)
  let at = 0
  for (let i = 0; i < size; i++) for (let j = 0; j <= i; j++) factor[at++] = scratch[i * size + j]!
}

/** The columns of a row from `from` to its diagonal, whose reciprocal is kept. */
function finishRow(matrix: Float32Array, ridge: number, scratch: Float64Array, size: number, row: number, from: number): void {
  const packed = packedLength(row)
  const base = row * size
  for (let column = from; column <= row; column++) {
    const above = column * size
    let sum = matrix[packed + column]!
    for (let k = 0; k < column; k++) sum -= scratch[base + k]! * scratch[above + k]!
    scratch[base + column] = column < row ? sum * scratch[above + column]! : 1 / Math.sqrt(Math.max(sum + ridge, PIVOT_MIN))
  }
}

/** Solves L w = y: `whitened` = w, whose square sum is yᵀ (L Lᵀ)⁻¹ y. O(size² / 2). */
export function forwardSolve(factor: Float32Array, vector: Float64Array, whitened: Float64Array, size: number): void {
  let at = 0
  for (let row = 0; row < size; row++) {
    let even = vector[row]!
    let odd = 0
    let column = 0
    for (; column + 1 < row; column += 2) {
      even -= factor[at + column]! * whitened[column]!
      odd -= factor[at + column + 1]! * whitened[column + 1]!
    }
    if (column < row) even -= factor[at + column]! * whitened[column]!
    at += row
    whitened[row] = (even + odd) * factor[at]!
    at++
  }
}

/** The entries from `first` on of P y, P = (L Lᵀ)⁻¹, from the whitened y: solves L₂₂ᵀ v = w₂. O((size − first)² / 2). */
export function backSolveTail(factor: Float32Array, whitened: Float64Array, solved: Float64Array, first: number, size: number): void {
  for (let row = first; row < size; row++) solved[row] = whitened[row]!
  for (let row = size - 1; row >= first; row--) {
    const base = packedLength(row)
    const value = solved[row]! * factor[base + row]!
    solved[row] = value
    for (let column = first; column < row; column++) solved[column] = solved[column]! - factor[base + column]! * value
  }
}

/** Column `column` of P from `first` on, written to `solved`: what P y changes by when y's entry there grows by one. O((size − first)²). */
export function precisionColumn(factor: Float32Array, solved: Float64Array, column: number, first: number, size: number, scratch: Float64Array): void {
  scratch.fill(0, first, size)
  for (let row = column; row < size; row++) {
    const base = packedLength(row)
    let entry = row === column ? 1 : 0
    for (let k = column; k < row; k++) entry -= factor[base + k]! * scratch[k]!
    scratch[row] = entry * factor[base + row]!
  }
  backSolveTail(factor, scratch, solved, first, size)
}

/** The diagonal of P from `first` on: the precision of each column given all others. O((size − first)³ / 6). */
export function precisionTail(factor: Float32Array, precision: Float32Array, first: number, size: number, scratch: Float64Array): void {
  for (let column = first; column < size; column++) {
    let sum = 0
    for (let row = column; row < size; row++) {
      const base = packedLength(row)
      let entry = row === column ? 1 : 0
      for (let k = column; k < row; k++) entry -= factor[base + k]! * scratch[k]!
      entry *= factor[base + row]!
      scratch[row] = entry
      sum += entry * entry
    }
    precision[column - first] = sum
  }
}
