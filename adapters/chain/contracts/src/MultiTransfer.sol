// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

interface IToken {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// Pays many payees in one transaction, out of the caller's allowance. A packed
/// payment is 20 bytes of address and 12 bytes of amount.
contract MultiTransfer {
    IToken public GLM; // slot 0, set by the genesis block

    /// The caller pays each payee.
    function golemTransferDirect(address[] calldata payees, uint256[] calldata amounts) external {
        require(payees.length == amounts.length, "as many amounts as payees");
        for (uint256 i = 0; i < payees.length; ++i) {
            _pay(msg.sender, payees[i], amounts[i]);
        }
    }

    /// The caller pays each payee.
    function golemTransferDirectPacked(bytes32[] calldata payments) external {
        for (uint256 i = 0; i < payments.length; ++i) {
            _pay(msg.sender, _payee(payments[i]), _amount(payments[i]));
        }
    }

    /// The caller pays this contract once, and that pays each payee.
    function golemTransferIndirect(address[] calldata payees, uint256[] calldata amounts) external {
        require(payees.length == amounts.length, "as many amounts as payees");
        uint256 total = 0;
        for (uint256 i = 0; i < amounts.length; ++i) {
            total += amounts[i];
        }
        _pay(msg.sender, address(this), total);
        for (uint256 i = 0; i < payees.length; ++i) {
            _give(payees[i], amounts[i]);
        }
    }

    /// The caller pays this contract once, and that pays each payee.
    function golemTransferIndirectPacked(bytes32[] calldata payments, uint256 total) external {
        uint256 sum = 0;
        for (uint256 i = 0; i < payments.length; ++i) {
            sum += _amount(payments[i]);
        }
        require(sum == total, "payments do not add up to the total");
        _pay(msg.sender, address(this), total);
        for (uint256 i = 0; i < payments.length; ++i) {
            _give(_payee(payments[i]), _amount(payments[i]));
        }
    }

    function _payee(bytes32 payment) private pure returns (address) {
        return address(bytes20(payment));
    }

    function _amount(bytes32 payment) private pure returns (uint256) {
        return uint96(uint256(payment));
    }

    function _pay(address from, address to, uint256 amount) private {
        require(GLM.transferFrom(from, to, amount), "transferFrom failed");
    }

    function _give(address to, uint256 amount) private {
        require(GLM.transfer(to, amount), "transfer failed");
    }
}
